"""Paired differences of models, floors and ceilings, and what refits say, as tidy rows."""

import numpy as np
import pandas as pd
import pytest

from sparseshift.evaluation.intervals import bootstrap_mean
from sparseshift.scoring import (
    METRICS,
    RunKey,
    ScoreSettings,
    effect_differences,
    likelihood_differences,
    rescale_predictions,
    score_null_refits,
)
from sparseshift.scoring.ceilings import CEILING, FLOOR

SETTINGS = ScoreSettings(n_particles=4, n_resamples=200)
CELLS = [f"c{i}" for i in range(40)]
LABELS = np.repeat(["A", "B", "C"], [10, 15, 15])
RNG = np.random.default_rng(0)
HARD = RNG.normal(size=40)  # what is hard in a cell is so for every model


def scores(better: float, seed: int = 0) -> pd.DataFrame:
    noise = 0.1 * np.random.default_rng(seed).normal(size=40)
    return pd.DataFrame({"cell": CELLS, "perturbation": LABELS, "iwelbo": -HARD + better + noise})


def key(model: str, seed: int | None = 0) -> RunKey:
    return RunKey("here", model, "held_out", seed)


def test_likelihoods_are_compared_cell_by_cell() -> None:
    fits = [
        (key("vae"), scores(0.0)),
        (key("svae", 0), scores(1.0, 1)),
        (key("svae", 1), scores(1.4, 2)),
    ]
    simple = scores(0.5, 3).rename(columns={"iwelbo": "log_likelihood"})
    worse = scores(-3.0, 4).rename(columns={"iwelbo": "log_likelihood"})
    table = likelihood_differences(fits, {"good": simple, "bad": worse}, SETTINGS)
    rows = table.set_index(["model", "metric"])
    found = rows.loc[[("svae", "inll_minus_vae_k4")]].to_dict("records")[0]
    assert found["value"] == pytest.approx(-1.2, abs=0.1)
    # the noise of single cells is much more than this interval of three perturbations, and cancels
    wide = bootstrap_mean(HARD[[0, 20, 39]], n_resamples=200, seed=0)
    assert found["upper"] - found["lower"] < 0.2 * (wide.upper - wide.lower)
    assert rows.loc[("svae", "inll_minus_best_baseline_k4"), "value"] == pytest.approx(
        -0.7, abs=0.1
    )
    assert rows.loc[("vae", "inll_minus_best_baseline_k4"), "subset"] == "held_out_query, good"
    assert rows.loc[("svae", "inll_seed_sd_k4"), "value"] == pytest.approx(
        0.4 / np.sqrt(2), abs=0.1
    )
    assert ("vae", "inll_minus_vae_k4") not in rows.index
    assert ("good", "inll_minus_vae_k4") not in rows.index
    assert table["seed"].isna().all()


def test_nothing_scored_gives_no_rows() -> None:
    empty = scores(0.0).iloc[:0]
    assert likelihood_differences([(key("pca"), empty)], {}, SETTINGS).empty
    assert likelihood_differences([], {}, SETTINGS).empty


def predictions(**models: float) -> pd.DataFrame:
    """Correlations about these means, and errors about one minus them."""
    rows = []
    shared = 0.05 * RNG.normal(size=12)
    for model, mean in models.items():
        own = mean + shared + 0.01 * RNG.normal(size=12)
        for i, value in enumerate(own):
            rows.append((model, f"p{i}", "ate_pearson_r", value))
            rows.append((model, f"p{i}", "ate_rmse", 1.0 - value))
    return pd.DataFrame(rows, columns=["model", "perturbation", "metric", "value"])


def test_effects_are_compared_with_the_best_baseline() -> None:
    table = effect_differences(
        predictions(svae=0.6, vae=0.1, low=0.2, high=0.5), ["low", "high"], key("x"), SETTINGS
    ).set_index(["model", "metric"])
    for metric, sign in (("ate_pearson_r", 1), ("ate_rmse", -1)):
        row = table.loc[[("svae", f"{metric}_minus_best_baseline")]].to_dict("records")[0]
        assert row["subset"] == "held_out_query, high"
        assert sign * row["value"] == pytest.approx(0.1, abs=0.02)
        assert sign * row["lower"] > 0 or sign * row["upper"] > 0
    assert "low" not in table.index.get_level_values("model")


def test_a_model_is_placed_between_floor_and_ceiling() -> None:
    table = predictions(**{"svae": 0.5, CEILING: 0.6, FLOOR: 0.2})
    found = rescale_predictions(table, ["svae"], SETTINGS).set_index("metric")
    assert set(found.index) == {"ate_pearson_r", "ate_rmse"}
    assert set(found.index) <= set(METRICS)
    for row in found.to_dict("records"):
        assert row["resolvable"]
        assert row["rescaled"] == pytest.approx(0.75, abs=0.05)
        assert row["lower"] < row["rescaled"] < row["upper"]
        assert row["perturbations"] == 12


def test_what_noise_hides_is_not_rescaled() -> None:
    table = predictions(**{"svae": 0.5, CEILING: 0.21, FLOOR: 0.2})
    noisy = table.assign(value=table["value"] + RNG.normal(size=len(table)))
    found = rescale_predictions(noisy, ["svae"], SETTINGS)
    assert not found["resolvable"].any()
    assert found["rescaled"].isna().all()


def effects(n_edges: int, perturbation: str = "A") -> pd.DataFrame:
    inclusion = np.r_[np.full(n_edges, 0.9), np.full(10 - n_edges, 0.1)]
    return pd.DataFrame(
        {"perturbation": perturbation, "latent": "z0", "inclusion_probability": inclusion}
    )


def test_p_counts_refits_with_as_many_edges() -> None:
    nulls = [pd.concat([effects(n), effects(2, "implanted")]) for n in (0, 5, 7, 1)]
    table = score_null_refits(effects(5), nulls, effects(1, "guide NT1"), key("svae"))
    rows = table.set_index(["metric", "subset"])["value"]
    assert rows["true_edges", "all labels"] == 5
    assert [rows["null_edges", f"permutation {i}"] for i in range(4)] == [0, 5, 7, 1]
    assert rows["implanted_edges", "permutation 2"] == 2
    assert rows["null_edges_p", "4 permutations"] == (1 + 2) / (1 + 4)
    assert rows["control_guide_edges", "1 guides"] == 1


def test_without_refits_there_is_only_the_fit() -> None:
    table = score_null_refits(effects(5), [], None, key("svae"))
    assert table["metric"].tolist() == ["true_edges"]
    assert score_null_refits(effects(5), [], effects(0).iloc[:0], key("svae")).shape[0] == 1
