"""Effects predicted after a few cells, models less the best predictor without a model."""

import numpy as np
import pandas as pd
import pytest

from sparseshift.evaluation.intervals import Interval
from sparseshift.evaluation.paired import paired_differences
from sparseshift.scoring import RunKey, ScoreSettings, n_shot_differences

SETTINGS = ScoreSettings(n_resamples=200, seed=3)
NAMES = ("A", "B", "C+D", "E", "F")


def table_of(
    model: str, values: np.ndarray, *, size: int = 5, seed: int | None = None, split: str = "s"
) -> pd.DataFrame:
    """One score of each perturbation, and their mean."""
    rows = [
        ("ate_pearson_r", f"n_shot_{size}, {name}", Interval(float(v), np.nan, np.nan))
        for name, v in zip(NAMES, values, strict=True)
        if np.isfinite(v)
    ]
    mean = ("ate_pearson_r", f"n_shot_{size}", Interval(99.0, 0.0, 1.0))  # is not to be read
    return RunKey("x", model, split, seed).rows([mean, *rows])


@pytest.fixture(name="scores")
def make_scores() -> dict[str, np.ndarray]:
    """Two seeds of a model, and two predictors of which the second is better."""
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=5) for name in ("one", "two", "mean_effect")} | {
        "support_mean": rng.normal(size=5) + 3.0
    }


def test_differences_are_paired_with_the_best_predictor(scores: dict[str, np.ndarray]) -> None:
    table = pd.concat(
        [
            table_of("svae", scores["one"], seed=0),
            table_of("svae", scores["two"], seed=1),
            table_of("mean_effect", scores["mean_effect"]),
            table_of("support_mean", scores["support_mean"]),
        ]
    )
    found = n_shot_differences(table.reset_index(drop=True), [], "x", SETTINGS)
    assert found[["screen", "model", "split", "metric", "subset"]].to_numpy().tolist() == [
        ["x", "svae", "s", "ate_pearson_r_minus_best_baseline", "n_shot_5, support_mean"]
    ]
    both = np.column_stack([(scores["one"] + scores["two"]) / 2.0, scores["support_mean"]])
    expected = paired_differences(both, 1, n_resamples=200, seed=3)[0]
    row = found.iloc[0]
    assert [row["value"], row["lower"], row["upper"]] == pytest.approx(list(expected))


def test_the_best_predictor_is_chosen_at_each_size(scores: dict[str, np.ndarray]) -> None:
    better, worse = scores["support_mean"], scores["mean_effect"]
    table = pd.concat(
        [
            table_of("svae", scores["one"], size=5, seed=0),
            table_of("svae", scores["one"], size=50, seed=0),
            table_of("mean_effect", better, size=5),
            table_of("mean_effect", better, size=50),
            table_of("support_mean_shrunk", worse, size=5),
            table_of("support_mean_shrunk", better + 1.0, size=50),
        ],
        ignore_index=True,
    )
    found = n_shot_differences(table, [], "x", SETTINGS)
    assert found["subset"].tolist() == ["n_shot_5, mean_effect", "n_shot_50, support_mean_shrunk"]


def test_the_best_predictor_of_an_error_has_the_least(scores: dict[str, np.ndarray]) -> None:
    table = pd.concat(
        [
            table_of("svae", scores["one"], seed=0),
            table_of("no_change", scores["mean_effect"]),
            table_of("support_mean", scores["support_mean"]),
        ],
        ignore_index=True,
    )
    table["metric"] = table["metric"].str.replace("ate_pearson_r", "ate_rmse")
    found = n_shot_differences(table, [], "x", SETTINGS)
    assert found["metric"].tolist() == ["ate_rmse_minus_best_baseline"]
    assert found["subset"].tolist() == ["n_shot_5, no_change"]


def test_folds_are_taken_together(scores: dict[str, np.ndarray]) -> None:
    first = np.array([True, True, False, False, True])
    parts = [
        table_of(name, np.where(chosen, scores[value], np.nan), split=split)
        for name, value in (("svae", "one"), ("support_mean", "support_mean"))
        for split, chosen in (("fold_0", first), ("fold_1", ~first))
    ]
    found = n_shot_differences(
        pd.concat(parts, ignore_index=True), ["fold_0", "fold_1"], "x", SETTINGS
    )
    assert found["split"].tolist() == ["cross_fit"]
    mean = (scores["one"] - scores["support_mean"]).mean()
    assert found["value"].iloc[0] == pytest.approx(mean)


def test_without_a_model_a_predictor_or_rows_there_is_nothing(
    scores: dict[str, np.ndarray],
) -> None:
    alone = (table_of("svae", scores["one"]), table_of("mean_effect", scores["one"]))
    for table in (*alone, alone[0].iloc[:0]):
        assert n_shot_differences(table, [], "x", SETTINGS).empty


def test_a_predictor_of_fewer_perturbations_is_not_the_best(scores: dict[str, np.ndarray]) -> None:
    few = np.where(np.arange(5) == 2, 100.0, np.nan)
    table = pd.concat(
        [
            table_of("svae", scores["one"], seed=0),
            table_of("additive", few),
            table_of("support_mean", scores["support_mean"]),
        ],
        ignore_index=True,
    )
    found = n_shot_differences(table, [], "x", SETTINGS)
    assert found["subset"].tolist() == ["n_shot_5, support_mean"]
