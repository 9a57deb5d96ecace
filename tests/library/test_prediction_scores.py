"""Scores of predicted effects, perturbation by perturbation."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import stats

from sparseshift.data.splits import make_split
from sparseshift.fitted_model import FittedModel
from sparseshift.scoring import (
    METRICS,
    QUERY,
    ObservedEffects,
    PredictionTask,
    ScoreSettings,
    cell_eval_files,
    summarise_scores,
)
from sparseshift.scoring.simple_predictors import support_effects
from sparseshift.screens.cells import read_perturbations
from sparseshift.screens.columns import Columns

COLUMNS = Columns("gene", "ctrl")
HELD_OUT = ["C", "D", "C+D", "A+C"]


@pytest.fixture(scope="module")
def task(small_screen: AnnData) -> PredictionTask:
    named = small_screen.copy()
    named.var_names = ["C", "D", *named.var_names[2:]]
    labels = read_perturbations(named, COLUMNS)
    split = make_split(list(named.obs_names), labels, "ctrl", name="s", held_out=HELD_OUT, seed=0)
    observed = ObservedEffects(named, COLUMNS, split, tuple(named.var_names))
    return PredictionTask(observed, "ctrl", 3, seed=0)


def test_halves_of_the_control_differ_and_the_first_is_that_of_the_split(
    task: PredictionTask,
) -> None:
    first, *others = task.halves
    assert first is task.observed
    everyone = set(first.split.control_a) | set(first.split.control_b)
    for other in others:
        assert set(other.split.control_a) != set(first.split.control_a)
        assert set(other.split.control_a) | set(other.split.control_b) == everyone
        assert not set(other.split.control_a) & set(other.split.control_b)
        # the perturbed cells are the same, so that all effects change by one profile
        changes = [other.effects[name] - first.effects[name] for name in HELD_OUT]
        np.testing.assert_allclose(changes, np.broadcast_to(changes[0], (4, 20)), atol=1e-6)


def test_what_was_observed_is_the_best_prediction(task: PredictionTask) -> None:
    truth = [half.effects for half in task.halves]
    cells = {name: task.observed.profiles[rows] for name, rows in task.query.items()}
    table = task.score(truth, truth, cells).pivot(
        index="perturbation", columns="metric", values="value"
    )
    assert set(table) == set(METRICS)
    for metric in ("ate_rmse", "ate_mae"):
        assert table[metric].abs().max() < 1e-7
    for metric in (
        "ate_pearson_r",
        "ate_pearson_r_no_targets",
        "ate_pearson_r_top20",
        "de_direction",
    ):
        np.testing.assert_allclose(table[metric].dropna(), 1.0, atol=1e-7)
    for metric in ("discrimination", "centroid_accuracy"):
        np.testing.assert_allclose(table[metric].dropna(), 1.0)
    # a gene may move more than one that is significant
    assert (table["de_overlap_50"].dropna() > 0.9).all()
    assert (table["energy_distance"] <= 0.0).all()  # without bias: of the same cells, below 0


def test_scores_are_means_over_the_halves(task: PredictionTask) -> None:
    seen = [support_effects(half) for half in task.halves]
    table = task.score(seen, seen).set_index(["perturbation", "metric"])["value"]
    for name in HELD_OUT:
        r = [
            stats.pearsonr(s[name], h.effects[name]).statistic
            for s, h in zip(seen, task.halves, strict=True)
        ]
        assert table[name, "ate_pearson_r"] == pytest.approx(np.mean(r), abs=1e-6)
        # the genes of this screen called C and D are perturbed by labels with a C or a D
        keep = np.ones(20, bool)
        keep[[i for i, gene in enumerate("CD") if gene in name]] = False
        r = [
            stats.pearsonr(s[name][keep], h.effects[name][keep]).statistic
            for s, h in zip(seen, task.halves, strict=True)
        ]
        assert table[name, "ate_pearson_r_no_targets"] == pytest.approx(np.mean(r), abs=1e-6)
    assert ("C", "energy_distance") not in table.index


def test_a_prediction_that_is_the_same_for_all_tells_nothing_apart(task: PredictionTask) -> None:
    same = [dict.fromkeys(HELD_OUT, np.linspace(0, 1, 20)) for _ in task.halves]
    table = task.score(same, same).groupby("metric")["value"].mean()
    assert table["discrimination"] == pytest.approx(0.5)
    mean = [task.trained.mean(0) - h.profile(h.rows(h.split.control_a)) for h in task.halves]
    floor = task.score([dict.fromkeys(HELD_OUT, m) for m in mean], same)
    # the mean effect says nothing of its own
    assert (floor.loc[floor["metric"] == "ate_delta_r", "value"] == 0.0).all()


def test_a_summary_is_the_mean_over_perturbations(task: PredictionTask) -> None:
    seen = [support_effects(half) for half in task.halves]
    table = task.score(seen, seen)
    rows = summarise_scores(table, ScoreSettings(n_resamples=50))
    whole = [metric for metric, subset, _ in rows if subset == QUERY]
    assert whole == [metric for metric in METRICS if metric in set(table["metric"])]
    # A was trained, C and D were not
    assert {subset for _, subset, _ in rows} == {
        QUERY, "single", "combination, 0 of 2 singles seen", "combination, 1 of 2 singles seen",
    }  # fmt: skip
    for metric, subset, interval in rows:
        own = table["metric"] == metric
        values = table.loc[own & ((table["kind"] == subset) | (subset == QUERY)), "value"]
        assert interval.value == pytest.approx(values.mean())
        if len(values) > 2:
            assert interval.lower <= interval.value <= interval.upper
        else:  # of one or two perturbations resamples say too little
            assert np.isnan(interval.lower)
    nothing = pd.DataFrame({"perturbation": [], "kind": [], "metric": [], "value": []})
    assert summarise_scores(nothing, ScoreSettings()) == []


def test_files_for_cell_eval(
    small_screen: AnnData, fitted: dict[str, FittedModel], task: PredictionTask
) -> None:
    split = task.observed.split
    model = fitted["svae_plus"].adapt(small_screen[list(split.support)])
    predicted, observed = cell_eval_files(model, small_screen, split, ScoreSettings(n_draws=2))
    for file in (predicted, observed):
        assert set(file.obs["target_gene"]) == {*HELD_OUT, "non-targeting"}
        assert list(file.var_names) == list(small_screen.var_names)
    assert (predicted.obs["target_gene"] == "non-targeting").sum() == len(split.control_a)
    assert (observed.obs["target_gene"] == "non-targeting").sum() == len(split.control_b)
    mean = observed[observed.obs["target_gene"] == "C"].X.mean(0)
    mean = mean - observed[observed.obs["target_gene"] == "non-targeting"].X.mean(0)
    np.testing.assert_allclose(mean, task.observed.effects["C"], atol=1e-5)
