"""n-shot curves of predicted effects."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import sparseshift as ss
from sparseshift.data.nested_supports import NestedSupports
from sparseshift.data.splits import Split, make_split
from sparseshift.evaluation.average_effects import log_normalise, pearson_r
from sparseshift.fitted_model import FittedModel
from sparseshift.scoring import ObservedEffects, RunKey, ScoreSettings, n_shot_differences
from sparseshift.scoring.n_shot import NShotSettings, nested_supports
from sparseshift.scoring.n_shot_effects import (
    SAMPLED_CELLS,
    score_n_shot_baselines,
    score_n_shot_effects,
)
from sparseshift.scoring.simple_predictors import BASELINES
from sparseshift.scoring.tidy import METRIC_COLUMNS
from sparseshift.screens.cells import read_perturbations
from sparseshift.screens.columns import Columns

COLUMNS = Columns("gene", "ctrl")
SETTINGS = ScoreSettings(n_draws=2, n_halves=1, n_resamples=50, seed=4)
N_SHOT = NShotSettings(sizes=(2, 5, 12), n_draws=3, min_query=5, gradient_draws=1)
KEY = RunKey("small", "model", "split", 0)
Models = dict[str, FittedModel]


@pytest.fixture(scope="module")
def split(small_screen: AnnData) -> Split:
    """What the fitted models have not seen."""
    labels = read_perturbations(small_screen, COLUMNS)
    held_out = ["C", "D", "C+D", "A+C"]
    names = list(small_screen.obs_names)
    return make_split(names, labels, "ctrl", name="split", held_out=held_out, seed=0)


@pytest.fixture(scope="module")
def supports(small_screen: AnnData, split: Split) -> NestedSupports:
    """All four perturbations have 2 and 5 support cells, C and D 12."""
    return nested_supports(small_screen, COLUMNS, split, small_screen.var_names, N_SHOT)


class Profiles:
    """Log-normalised means by hand."""

    def __init__(self, screen: AnnData, split: Split) -> None:
        counts = screen.X.toarray()
        names = screen.obs_names
        control = names.isin([*split.control_a, *split.control_b])
        self.total = float(np.median(counts[control].sum(1)))
        self.table = pd.DataFrame(log_normalise(counts, self.total), index=names)

    def mean(self, names: Sequence[str] | np.ndarray) -> np.ndarray:
        """Of cells by name."""
        return self.table.loc[list(names)].to_numpy().mean(0)


def value_of(table: pd.DataFrame, metric: str, subset: str, model: str = "model") -> float:
    """The one value."""
    chosen = (table["metric"] == metric) & (table["subset"] == subset) & (table["model"] == model)
    assert chosen.sum() == 1
    return float(table.loc[chosen, "value"].iloc[0])


def test_the_support_mean_sees_the_cells_of_each_support(
    small_screen: AnnData, split: Split, supports: NestedSupports
) -> None:
    genes = tuple(small_screen.var_names)
    table = score_n_shot_baselines(
        small_screen, COLUMNS, split, genes, supports, "small", SETTINGS, N_SHOT
    )
    assert list(table["model"].unique()) == list(BASELINES)
    assert table["seed"].isna().all()
    profiles = Profiles(small_screen, split)
    start, other = profiles.mean(split.control_a), profiles.mean(split.control_b)
    for size in supports.sizes:
        found = [
            [
                pearson_r(
                    profiles.mean(supports.order[label][draw, :size]) - start,
                    profiles.mean(supports.query[label]) - other,
                )
                for draw in range(3)
            ]
            for label in supports.possible(size)
        ]
        subset = f"n_shot_{size}"
        mean = value_of(table, "ate_pearson_r", subset, "support_mean")
        assert mean == pytest.approx(np.mean(found), abs=1e-5)
        spread = value_of(table, "draw_sd_ate_pearson_r", subset, "support_mean")
        assert spread == pytest.approx(np.mean(found, axis=0).std(ddof=1), abs=1e-5)

    # the gain is of the same perturbations, and up is better
    def of(label: str, size: int) -> float:
        truth = profiles.mean(supports.query[label]) - other
        seen = [profiles.mean(supports.order[label][d, :size]) - start for d in range(3)]
        return float(np.mean([pearson_r(s, truth) for s in seen]))

    expected = np.mean([of(label, 12) - of(label, 2) for label in supports.possible(12)])
    gain = value_of(table, "gain_ate_pearson_r", "n_shot_12", "support_mean")
    assert gain == pytest.approx(expected, abs=1e-5)


def test_each_perturbation_has_a_row_too(
    small_screen: AnnData, split: Split, supports: NestedSupports
) -> None:
    genes = tuple(small_screen.var_names)
    table = score_n_shot_baselines(
        small_screen, COLUMNS, split, genes, supports, "small", SETTINGS, N_SHOT
    )
    own = table[(table["model"] == "support_mean") & (table["metric"] == "ate_pearson_r")]
    for size in supports.sizes:
        rows = own[own["subset"].str.startswith(f"n_shot_{size}, ")]
        rows = rows[~rows["subset"].str.endswith("draws")]
        names = rows["subset"].str.removeprefix(f"n_shot_{size}, ").tolist()
        assert sorted(names) == sorted(supports.possible(size))
        mean = value_of(table, "ate_pearson_r", f"n_shot_{size}", "support_mean")
        assert rows["value"].mean() == pytest.approx(mean)


def test_scores_are_means_over_halvings_of_the_control(
    small_screen: AnnData, split: Split, supports: NestedSupports
) -> None:
    genes = tuple(small_screen.var_names)
    given = (genes, supports, "small")
    both = score_n_shot_baselines(
        small_screen, COLUMNS, split, *given, replace(SETTINGS, n_halves=2), N_SHOT
    )
    halves = ObservedEffects(small_screen, COLUMNS, split, genes).halves(2, SETTINGS.seed)
    each = [
        score_n_shot_baselines(small_screen, COLUMNS, half.split, *given, SETTINGS, N_SHOT)
        for half in halves
    ]
    for metric in ("ate_pearson_r", "ate_rmse"):
        for name in ("support_mean", "support_mean_to_control", "ridge"):
            found = value_of(both, metric, "n_shot_5", name)
            expected = [value_of(table, metric, "n_shot_5", name) for table in each]
            assert expected[0] != expected[1]
            assert found == pytest.approx(np.mean(expected))


def test_a_model_of_fewer_draws_is_compared_on_these(
    training_screen: AnnData,
    small: dict[str, Any],
    small_screen: AnnData,
    split: Split,
    supports: NestedSupports,
) -> None:
    """Of three draws the gradient takes the first; the predictors beside it then do, too."""
    model = ss.fit(training_screen, "sams_vae", **small)
    table = score_n_shot_effects(model, small_screen, split, supports, KEY, SETTINGS, N_SHOT)
    simple = score_n_shot_baselines(
        small_screen, COLUMNS, split, tuple(small_screen.var_names), supports, "small", SETTINGS, N_SHOT
    )  # fmt: skip
    both = pd.concat([table, simple], ignore_index=True)
    found = n_shot_differences(both, [], "small", SETTINGS).set_index(["metric", "subset"])[
        "value"
    ]
    label = ", first 1 draws"

    def mean(model: str, size: int) -> float:
        rows = both[(both["model"] == model) & (both["metric"] == "ate_rmse")]
        own = [f"n_shot_{size}, {name}{label}" for name in supports.possible(size)]
        return float(rows.set_index("subset").loc[own, "value"].mean())

    for size in (2, 5, 12):
        means = {name: mean(name, size) for name in BASELINES}
        best = min(means, key=lambda name: means[name])
        own = found["ate_rmse_minus_best_baseline", f"n_shot_{size}, {best}{label}"]
        assert own == pytest.approx(mean("model", size) - means[best])
    profiles = Profiles(small_screen, split)
    start, other = profiles.mean(split.control_a), profiles.mean(split.control_b)
    seen = profiles.mean(supports.order["C"][0, :5]) - start
    expected = np.sqrt(np.mean((seen - profiles.mean(supports.query["C"]) + other) ** 2))
    first = value_of(simple, "ate_rmse", f"n_shot_5, C{label}", "support_mean")
    assert first == pytest.approx(expected, abs=1e-5)


def test_the_mean_effect_is_the_same_for_every_support(
    small_screen: AnnData, split: Split, supports: NestedSupports
) -> None:
    genes = tuple(small_screen.var_names)
    table = score_n_shot_baselines(
        small_screen, COLUMNS, split, genes, supports, "small", SETTINGS, N_SHOT
    )
    own = table[table["model"] == "mean_effect"]
    # it has nothing of its own
    assert value_of(own, "ate_delta_r", "n_shot_5", "mean_effect") == 0.0
    assert value_of(own, "gain_ate_pearson_r", "n_shot_5", "mean_effect") == pytest.approx(0.0)
    assert value_of(own, "draw_sd_ate_pearson_r", "n_shot_5", "mean_effect") == pytest.approx(0.0)
    # two cells say little: the shrunk mean is closer to the mean effect than the raw one
    r = {m: value_of(table, "ate_pearson_r", "n_shot_2", m) for m in BASELINES if m != "no_change"}
    assert min(r["mean_effect"], r["support_mean"]) - 0.05 <= r["support_mean_shrunk"]


def test_what_is_shrunk_to_no_effect_keeps_its_direction(
    small_screen: AnnData, split: Split, supports: NestedSupports
) -> None:
    genes = tuple(small_screen.var_names)
    table = score_n_shot_baselines(
        small_screen, COLUMNS, split, genes, supports, "small", SETTINGS, N_SHOT
    )
    profiles = Profiles(small_screen, split)
    start, other = profiles.mean(split.control_a), profiles.mean(split.control_b)
    labels = read_perturbations(small_screen, COLUMNS)
    training = split.is_training(list(small_screen.obs_names), labels)
    cells = {
        name: profiles.table[training & (labels == name)].to_numpy()
        for name in sorted(set(labels[training]) - {"ctrl"})
    }
    control = profiles.table.loc[list(split.control_a)].to_numpy()
    # the true mean square of effects by moments, genes averaged
    noise = control.var(0, ddof=1).mean() / len(control)
    squares = [
        ((own.mean(0) - start) ** 2).mean() - own.var(0, ddof=1).mean() / len(own) - noise
        for own in cells.values()
    ]
    square = max(0.0, float(np.mean(squares)))
    assert square > 0
    errors, none = [], []
    for label in supports.possible(5):
        truth = profiles.mean(supports.query[label]) - other
        none.append(np.sqrt(np.mean(truth**2)))
        for draw in range(3):
            own = profiles.table.loc[supports.order[label][draw, :5].tolist()].to_numpy()
            within = own.var(0, ddof=1).mean() / 5 + noise
            effect = square / (square + within) * (own.mean(0) - start)
            errors.append(np.sqrt(np.mean((effect - truth) ** 2)))
    found = value_of(table, "ate_rmse", "n_shot_5", "support_mean_to_control")
    assert found == pytest.approx(np.mean(errors), rel=1e-4)
    assert value_of(table, "ate_rmse", "n_shot_5", "no_change") == pytest.approx(np.mean(none))
    r = [
        value_of(table, "ate_pearson_r", "n_shot_5", name)
        for name in ("support_mean", "support_mean_to_control")
    ]
    assert r[0] == pytest.approx(r[1])
    # less error is a gain
    assert value_of(table, "gain_ate_rmse", "n_shot_5", "support_mean") > 0


@pytest.mark.parametrize("name", ["svae_plus", "ivae"])
def test_the_curve_is_that_of_adapted_models(
    name: str, fitted: Models, small_screen: AnnData, split: Split, supports: NestedSupports
) -> None:
    model = fitted[name]
    table = score_n_shot_effects(model, small_screen, split, supports, KEY, SETTINGS, N_SHOT)
    profiles = Profiles(small_screen, split)
    other = profiles.mean(split.control_b)

    def sampled(own: FittedModel, cells: AnnData, n_draws: int) -> pd.DataFrame:
        draws = [
            log_normalise(own.sample(cells, seed=SETTINGS.seed + d), profiles.total)
            for d in range(n_draws)
        ]
        return pd.DataFrame(np.mean(draws, axis=0), index=cells.obs_names)

    control = small_screen[list(split.control_a + split.control_b)]
    of_control = sampled(model, control, SETTINGS.n_draws)
    start = of_control.loc[list(split.control_a)].to_numpy().mean(0)
    n_query = len(supports.query_cells)
    assert SETTINGS.n_draws * n_query < SAMPLED_CELLS * len(supports.query)
    n_draws = SETTINGS.n_draws
    possible = supports.possible(5)
    query = small_screen[np.concatenate([supports.query[label] for label in possible])]
    found = []
    for draw in range(3):
        cells = sampled(model.adapt(small_screen[supports.support(5, draw)]), query, n_draws)
        for label in possible:
            effect = cells.loc[supports.query[label]].to_numpy().mean(0) - start
            found.append(pearson_r(effect, profiles.mean(supports.query[label]) - other))
    assert value_of(table, "ate_pearson_r", "n_shot_5") == pytest.approx(np.mean(found), abs=1e-4)
    assert {"ate_delta_r", "gain_ate_pearson_r", "draw_sd_ate_delta_r"} <= set(table["metric"])


def test_what_adapts_nothing_is_drawn_once(
    fitted: Models, small_screen: AnnData, split: Split, supports: NestedSupports
) -> None:
    table = score_n_shot_effects(
        fitted["vae"], small_screen, split, supports, KEY, SETTINGS, N_SHOT
    )
    assert not table["metric"].str.startswith("draw_sd").any()
    assert value_of(table, "gain_ate_pearson_r", "n_shot_5") == pytest.approx(0.0, abs=1e-9)


def test_where_there_is_no_curve_there_are_no_rows(
    fitted: Models,
    small_screen: AnnData,
    training_screen: AnnData,
    split: Split,
    supports: NestedSupports,
) -> None:
    model, genes = fitted["svae_plus"], tuple(small_screen.var_names)
    nothing = replace(supports, sizes=(), query={}, order={})
    no_control = replace(split, control_a=(), control_b=())
    linear = ss.fit(training_screen, "pca", perturbation="gene", control="ctrl", n_latents=2)
    given = (KEY, SETTINGS, N_SHOT)
    tables = [
        score_n_shot_effects(model, small_screen, split, nothing, *given),
        score_n_shot_effects(model, small_screen, no_control, supports, *given),
        score_n_shot_effects(linear, small_screen, split, supports, *given),
        score_n_shot_baselines(
            small_screen, COLUMNS, split, genes, nothing, "small", SETTINGS, N_SHOT
        ),
        score_n_shot_baselines(
            small_screen, COLUMNS, no_control, genes, supports, "small", SETTINGS, N_SHOT
        ),
    ]
    for table in tables:
        assert table.empty
        assert list(table.columns) == METRIC_COLUMNS
