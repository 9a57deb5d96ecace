"""n-shot curves of models and of independent genes, and the bound at growing numbers of particles."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData
from scipy import sparse, stats

import sparseshift as ss
from sparseshift.data.nested_supports import NestedSupports
from sparseshift.data.splits import Split, make_split
from sparseshift.errors import OptionError
from sparseshift.evaluation.likelihood_under_priors import cell_iwelbo_under
from sparseshift.fitted_model import FittedModel
from sparseshift.models.importance_weights import log_weights
from sparseshift.models.nb_baseline import pool
from sparseshift.probability.bounds import iwelbo
from sparseshift.scoring import QUERY, RunKey, ScoreSettings
from sparseshift.scoring.n_shot import (
    NShotSettings,
    curve,
    nested_supports,
    score_n_shot,
    why_no_curve,
)
from sparseshift.scoring.nb_scores import (
    NB_BASELINES,
    fit_nb,
    score_nb_cells,
    score_nb_n_shot,
    score_nb_query,
)
from sparseshift.scoring.particle_convergence import nested_bounds, particle_convergence
from sparseshift.scoring.tidy import METRIC_COLUMNS
from sparseshift.screens.cells import read_perturbations, to_cells
from sparseshift.screens.columns import Columns

COLUMNS = Columns("gene", "ctrl")
HELD_OUT = ["C", "D", "C+D", "A+C"]
SETTINGS = ScoreSettings(n_particles=6, n_resamples=50, seed=4)
N_SHOT = NShotSettings(sizes=(2, 5, 12), n_draws=3, min_query=5, gradient_draws=2)
KEY = RunKey("small", "model", "split", 0)
Models = dict[str, FittedModel]


def split_of(screen: AnnData, held_out: list[str], **options: Any) -> Split:
    """Half of each held-out perturbation's cells are support."""
    labels = read_perturbations(screen, COLUMNS)
    options = {"name": "split", "held_out": held_out, "seed": 0, **options}
    return make_split(list(screen.obs_names), labels, "ctrl", **options)


def value_of(table: pd.DataFrame, metric: str, subset: str) -> float:
    """The one value."""
    found = table[(table["metric"] == metric) & (table["subset"] == subset)]["value"]
    assert len(found) == 1
    return float(found.iloc[0])


@pytest.fixture(scope="module")
def split(small_screen: AnnData) -> Split:
    """What the fitted models have not seen: supports of 20, 15, 8 and 8 cells."""
    return split_of(small_screen, HELD_OUT)


@pytest.fixture(scope="module")
def supports(small_screen: AnnData, split: Split) -> NestedSupports:
    """All four perturbations have 2 and 5 support cells, C and D 12."""
    return nested_supports(small_screen, COLUMNS, split, small_screen.var_names, N_SHOT)


def by_adapting(
    model: FittedModel, screen: AnnData, supports: NestedSupports, size: int
) -> np.ndarray:
    """Bounds of all query cells after `adapt` to each draw, (draws, cells)."""
    query = screen[supports.query_cells]
    adapted = [
        model.adapt(screen[supports.support(size, draw)]) for draw in range(supports.n_draws)
    ]
    return np.stack([a.cell_iwelbo(query, 6, seed=SETTINGS.seed).to_numpy() for a in adapted])


@pytest.mark.parametrize("name", ["vae", "ivae", "svae_plus", "batches"])
def test_the_curve_is_that_of_adapted_models(
    name: str, fitted: Models, small_screen: AnnData, supports: NestedSupports
) -> None:
    model = fitted[name]
    table = score_n_shot(model, small_screen, supports, KEY, SETTINGS, N_SHOT)
    labels = supports.query_labels
    # a table of shifts does not know the doubles whose support has no 12 cells
    for size in (2, 5) if name == "ivae" else (2, 5, 12):
        loss = -by_adapting(model, small_screen, supports, size)
        possible = supports.possible(size)
        by_draw = np.mean([loss[:, labels == label].mean(1) for label in possible], axis=0)
        subset = f"n_shot_{size}"
        assert value_of(table, "n_perturbations", subset) == len(possible)
        assert value_of(table, "inll_macro_k6", subset) == pytest.approx(by_draw.mean(), abs=1e-4)
        assert value_of(table, "draw_sd_inll_macro_k6", subset) == pytest.approx(
            by_draw.std(ddof=1), abs=1e-4
        )


def test_a_curve_can_be_of_sparse_adaptation(
    fitted: Models, small_screen: AnnData, supports: NestedSupports
) -> None:
    model = fitted["svae_plus"]
    sparse = replace(N_SHOT, sparse=True)
    table = score_n_shot(model, small_screen, supports, KEY, SETTINGS, sparse)
    query = small_screen[supports.query_cells]
    loss = [
        -model.adapt(small_screen[supports.support(12, draw)], sparse=True)
        .cell_iwelbo(query, 6, seed=SETTINGS.seed)
        .to_numpy()
        for draw in range(supports.n_draws)
    ]
    own = [
        np.mean(loss, axis=0)[supports.query_labels == label].mean()
        for label in supports.possible(12)
    ]
    assert value_of(table, "inll_macro_k6", "n_shot_12") == pytest.approx(np.mean(own), abs=1e-4)
    dense = score_n_shot(model, small_screen, supports, KEY, SETTINGS, N_SHOT)
    assert value_of(dense, "inll_macro_k6", "n_shot_12") != pytest.approx(np.mean(own), abs=1e-4)


def test_with_the_same_particles_every_cell_has_the_same_bound(
    fitted: Models, small_screen: AnnData, supports: NestedSupports
) -> None:
    model = fitted["svae_plus"]
    adapted = [model.adapt(small_screen[supports.support(5, draw)]) for draw in range(2)]
    spec, query = adapted[0].spec, small_screen[supports.query_cells]
    cells, _ = to_cells(query, spec.columns, spec.genes, spec.design, spec.batches)
    for k in (1, 40):
        found = cell_iwelbo_under(
            model.module, cells, [a.module.prior for a in adapted], k, seed=9
        )
        for row, a in zip(found, adapted, strict=True):
            np.testing.assert_allclose(row, a.cell_iwelbo(query, k, seed=9), rtol=2e-6)


def test_encoders_that_see_the_shift_are_refused(
    training_screen: AnnData, small: dict[str, Any]
) -> None:
    model = ss.fit(training_screen, "sams_vae", **{**small, "steps": 2})
    spec = model.spec
    cells, _ = to_cells(training_screen, spec.columns, spec.genes, spec.design, ())
    with pytest.raises(ValueError, match="'basal' depends on the prior"):
        cell_iwelbo_under(model.module, cells, [model.module.prior], 2, 0)


def test_tidy_rows_of_a_curve(
    fitted: Models, small_screen: AnnData, supports: NestedSupports
) -> None:
    table = score_n_shot(fitted["ivae"], small_screen, supports, KEY, SETTINGS, N_SHOT)
    assert list(table.columns) == METRIC_COLUMNS
    assert table["subset"].unique().tolist() == ["n_shot_2", "n_shot_5", "n_shot_12"]
    first = table[table["subset"] == "n_shot_2"]["metric"].tolist()
    assert first == ["inll_macro_k6", "draw_sd_inll_macro_k6", "n_perturbations"]
    assert "gain_inll_macro_k6" in set(table[table["subset"] == "n_shot_5"]["metric"])
    bounded = table[table["lower"].notna()]
    assert set(bounded["metric"]) == {"inll_macro_k6", "gain_inll_macro_k6"}
    assert ((bounded["lower"] <= bounded["value"]) & (bounded["value"] <= bounded["upper"])).all()
    again = score_n_shot(fitted["ivae"], small_screen, supports, KEY, SETTINGS, N_SHOT)
    pd.testing.assert_frame_equal(table, again)


def test_a_vae_has_a_flat_line(
    fitted: Models, small_screen: AnnData, supports: NestedSupports
) -> None:
    table = score_n_shot(fitted["vae"], small_screen, supports, KEY, SETTINGS, N_SHOT)
    for metric in ("gain_inll_macro_k6", "draw_sd_inll_macro_k6"):
        np.testing.assert_allclose(table[table["metric"] == metric]["value"], 0.0, atol=1e-5)
    assert value_of(table, "inll_macro_k6", "n_shot_2") == value_of(
        table, "inll_macro_k6", "n_shot_5"
    )


def test_combinations_of_trained_parts_do_not_depend_on_the_support(
    fitted: Models, small_screen: AnnData
) -> None:
    split = split_of(small_screen, ["A+B"])
    nested = nested_supports(small_screen, COLUMNS, split, small_screen.var_names, N_SHOT)
    table = score_n_shot(fitted["svae_plus"], small_screen, nested, KEY, SETTINGS, N_SHOT)
    query = small_screen[nested.query_cells]
    expected = -fitted["svae_plus"].cell_iwelbo(query, 6, seed=SETTINGS.seed).mean()
    for size in nested.sizes:
        found = value_of(table, "inll_macro_k6", f"n_shot_{size}")
        assert found == pytest.approx(expected, abs=1e-4)


def test_models_that_adapt_by_gradient_take_fewer_draws(
    training_screen: AnnData,
    small_screen: AnnData,
    supports: NestedSupports,
    small: dict[str, Any],
) -> None:
    model = ss.fit(training_screen, "conditional_vae", **{**small, "steps": 2})
    few = replace(supports, sizes=(12,))
    table = score_n_shot(model, small_screen, few, KEY, SETTINGS, N_SHOT)
    possible = np.isin(supports.query_labels, supports.possible(12))
    query = small_screen[supports.query_cells[possible]]
    by_draw = [
        -model.adapt(small_screen[supports.support(12, draw)])
        .iwelbo(query, 6, seed=SETTINGS.seed)
        .mean()
        for draw in range(2)
    ]
    assert value_of(table, "inll_macro_k6", "n_shot_12") == pytest.approx(np.mean(by_draw))
    found = value_of(table, "draw_sd_inll_macro_k6", "n_shot_12")
    assert found == pytest.approx(np.std(by_draw, ddof=1), abs=1e-4)
    no_draws = replace(N_SHOT, gradient_draws=0)
    assert score_n_shot(model, small_screen, few, KEY, SETTINGS, no_draws).empty
    assert why_no_curve(model, no_draws) == "it adapts by gradient and gradient_draws is 0"
    assert why_no_curve(model, N_SHOT) is None


def test_linear_baselines_have_no_curve(
    training_screen: AnnData, small_screen: AnnData, supports: NestedSupports
) -> None:
    model = ss.fit(training_screen, "pca", n_latents=2, perturbation="gene", control="ctrl")
    assert why_no_curve(model, N_SHOT) == "it has no likelihood of counts"
    assert score_n_shot(model, small_screen, supports, KEY, SETTINGS, N_SHOT).empty


def test_what_was_adapted_before_is_refused(
    fitted: Models, small_screen: AnnData, split: Split, supports: NestedSupports
) -> None:
    adapted = fitted["ivae"].adapt(small_screen[list(split.support)])
    with pytest.raises(OptionError, match="model is adapted already"):
        score_n_shot(adapted, small_screen, supports, KEY, SETTINGS, N_SHOT)


def test_nothing_to_score_is_an_empty_table(fitted: Models, small_screen: AnnData) -> None:
    split, genes = split_of(small_screen, []), tuple(small_screen.var_names)
    none = nested_supports(small_screen, COLUMNS, split, genes, N_SHOT)
    assert len(none.impossible) == 1
    nb = fit_nb(small_screen, COLUMNS, split, genes)
    tables = [
        score_n_shot(fitted["ivae"], small_screen, none, KEY, SETTINGS, N_SHOT),
        score_nb_n_shot(nb, small_screen, none, "small", SETTINGS),
        score_nb_query(score_nb_cells(nb, small_screen), "small", split.name, SETTINGS),
        particle_convergence(fitted["ivae"], small_screen, split, KEY, SETTINGS),
    ]
    for table in tables:
        assert table.empty
        assert list(table.columns) == METRIC_COLUMNS


def test_a_curve_of_known_losses(supports: NestedSupports) -> None:
    labels = supports.query_labels
    worth = pd.Series({"C": 1.0, "D": 2.0, "C+D": 30.0, "A+C": 40.0})
    of_cell = worth[labels].to_numpy()
    # sizes give 0, 1 and 3 nats, draws shift by -1, 0, 1
    losses = of_cell - np.array([0.0, 1.0, 3.0])[:, None, None]
    losses = losses + np.array([-1.0, 0.0, 1.0])[:, None]
    losses[2][:, ~np.isin(labels, ["C", "D"])] = np.nan
    table = curve(losses, supports.query_labels, supports, KEY, SETTINGS, "loss")
    for subset, mean, gain, n in (
        ("n_shot_2", 73 / 4, None, 4),
        ("n_shot_5", 73 / 4 - 1, 1.0, 4),
        ("n_shot_12", 1.5 - 3, 3.0, 2),  # the gain is that of the same perturbations
    ):
        assert value_of(table, "loss", subset) == pytest.approx(mean)
        assert value_of(table, "draw_sd_loss", subset) == pytest.approx(1.0)
        assert value_of(table, "n_perturbations", subset) == n
        if gain is not None:
            assert value_of(table, "gain_loss", subset) == pytest.approx(gain)


def test_independent_genes_see_the_same_supports(
    small_screen: AnnData, split: Split, supports: NestedSupports
) -> None:
    genes = tuple(small_screen.var_names)
    nb = fit_nb(small_screen, COLUMNS, split, genes)
    table = score_nb_n_shot(nb, small_screen, supports, "small", SETTINGS)
    assert list(table["model"].unique()) == list(NB_BASELINES)
    assert table["seed"].isna().all()
    theta = nb.independent.log_inverse_dispersion.exp().numpy()
    losses = []
    for label in supports.possible(12):
        x = small_screen[supports.query[label]].X.toarray()
        for draw in range(3):
            support = small_screen[supports.order[label][draw, :12]].X.toarray().sum(0)
            m = x.sum(1, keepdims=True) * (support + 0.5) / (support + 0.5).sum()
            losses.append(-stats.nbinom.logpmf(x, theta, theta / (theta + m)).sum(1).mean())
    raw = table[table["model"] == "nb_support"]
    assert value_of(raw, "nll_macro", "n_shot_12") == pytest.approx(np.mean(losses), rel=1e-5)
    by_draw = np.mean(np.reshape(losses, (2, 3)), axis=0)
    assert value_of(raw, "draw_sd_nll_macro", "n_shot_12") == pytest.approx(
        by_draw.std(ddof=1), rel=1e-2
    )
    flat = table[table["model"] == "nb_perturbed_mean"]
    assert "draw_sd_nll_macro" not in set(flat["metric"])
    assert value_of(flat, "gain_nll_macro", "n_shot_5") == 0.0
    shrunk = table[table["model"] == "nb_support_shrunk"]
    label = supports.possible(12)[0]
    alone = replace(
        supports,
        sizes=(5,),
        query={label: supports.query[label]},
        order={label: supports.order[label]},
    )
    assert value_of(shrunk, "nll_macro", "n_shot_5") != value_of(raw, "nll_macro", "n_shot_5")
    loss = score_nb_n_shot(nb, small_screen, alone, "small", SETTINGS)
    log_prob = nb.independent.log_prob_of(nb.counts(small_screen[supports.query[label]]))
    expected = [
        -log_prob(nb.independent.shrunk(pool(nb.counts(small_screen[cells[:5]])))).mean().item()
        for cells in supports.order[label]
    ]
    shrunk = loss[loss["model"] == "nb_support_shrunk"]
    assert value_of(shrunk, "nll_macro", "n_shot_5") == pytest.approx(np.mean(expected), rel=1e-6)


def test_independent_genes_beside_the_ordinary_scores(small_screen: AnnData, split: Split) -> None:
    nb = fit_nb(small_screen, COLUMNS, split, tuple(small_screen.var_names))
    cells = score_nb_cells(nb, small_screen)
    assert list(cells) == list(NB_BASELINES)
    for scored in cells.values():
        assert scored.columns.tolist() == ["cell", "perturbation", "log_likelihood"]
        assert sorted(scored["cell"]) == sorted(split.query)
        labels = read_perturbations(small_screen[scored["cell"].to_numpy()], COLUMNS)
        assert scored["perturbation"].tolist() == labels.tolist()
        assert (scored["log_likelihood"] < 0.0).all()
    table = score_nb_query(cells, "small", split.name, SETTINGS)
    assert list(table.columns) == METRIC_COLUMNS
    assert set(table["subset"]) == {QUERY}
    for model, scored in cells.items():
        own = table[table["model"] == model]
        loss = -scored.groupby("perturbation")["log_likelihood"].mean()
        assert value_of(own, "nll_macro", QUERY) == pytest.approx(loss.mean(), rel=1e-5)
        micro = -scored["log_likelihood"].mean()
        assert value_of(own, "nll_micro", QUERY) == pytest.approx(micro, rel=1e-5)


def test_the_support_of_trained_perturbations_are_their_training_cells(
    small_screen: AnnData,
) -> None:
    split = split_of(small_screen, [], cells_fraction=0.3)
    nb = fit_nb(small_screen, COLUMNS, split, tuple(small_screen.var_names))
    scored = score_nb_cells(nb, small_screen)["nb_support"].set_index("cell")["log_likelihood"]
    labels = read_perturbations(small_screen, COLUMNS)
    is_training = split.is_training(small_screen.obs_names, labels)
    theta = nb.independent.log_inverse_dispersion.exp().numpy()
    for label in ("A", "A+B"):
        own = labels == label
        support = small_screen[own & is_training].X.toarray().sum(0) + 0.5
        query = small_screen[own & ~is_training]
        x = query.X.toarray()
        m = x.sum(1, keepdims=True) * support / support.sum()
        expected = stats.nbinom.logpmf(x, theta, theta / (theta + m)).sum(1)
        np.testing.assert_allclose(scored[query.obs_names], expected, rtol=1e-5)


def test_cells_without_counts_are_left_out_of_supports(
    small_screen: AnnData, split: Split
) -> None:
    screen = small_screen.copy()
    empty = [split.query[0], split.support[0]]
    counts = screen.X.toarray()
    counts[screen.obs_names.isin(empty)] = 0.0
    screen.X = sparse.csr_matrix(counts)
    nested = nested_supports(screen, COLUMNS, split, screen.var_names, replace(N_SHOT, sizes=(1,)))
    assert set(empty).isdisjoint([*nested.query_cells, *nested.support_cells])


@pytest.mark.parametrize("name", ["vae", "svae_plus"])
def test_no_cell_loses_by_more_particles(
    name: str, fitted: Models, training_screen: AnnData
) -> None:
    model = fitted[name]
    spec = model.spec
    cells, _ = to_cells(training_screen, spec.columns, spec.genes, spec.design, ())
    bounds = nested_bounds(model.module, cells, (1, 4, 20), seed=2)
    assert (bounds.diff(dim=0) >= -1e-3).all()
    assert bounds[-1].mean() > bounds[0].mean()
    generator = torch.Generator().manual_seed(2)
    few = cells.take(torch.arange(8))
    weights = log_weights(model.module, few, 20, generator)
    np.testing.assert_allclose(bounds[0, :8], weights.mean(0), rtol=1e-5)
    blocks = torch.stack([iwelbo(block) for block in weights.split(4)])
    np.testing.assert_allclose(bounds[1, :8], blocks.mean(0), rtol=1e-5)
    np.testing.assert_allclose(bounds[2, :8], iwelbo(weights), rtol=1e-5)


def test_convergence_is_shown_on_some_cells_of_each_perturbation(
    fitted: Models, small_screen: AnnData, split: Split
) -> None:
    model = fitted["svae_plus"].adapt(small_screen[list(split.support)])
    options: dict[str, Any] = {"ks": (1, 10, 50), "n_cells": 100}
    table = particle_convergence(model, small_screen, split, KEY, SETTINGS, **options)
    assert table["metric"].tolist() == [
        "inll_macro_k1",
        "excess_inll_macro_k1",
        "inll_macro_k10",
        "excess_inll_macro_k10",
        "inll_macro_k50",
    ]
    assert set(table["subset"]) == {"particle_convergence"}
    values = table.set_index("metric")["value"]
    assert values["inll_macro_k1"] > values["inll_macro_k10"] > values["inll_macro_k50"]
    assert values["excess_inll_macro_k10"] == pytest.approx(
        values["inll_macro_k10"] - values["inll_macro_k50"], abs=1e-4
    )
    # of all cells, and as far from other draws as their noise
    whole = -model.iwelbo(small_screen[list(split.query)], 50, seed=1).mean()
    assert values["inll_macro_k50"] == pytest.approx(whole, abs=0.3)
    few = particle_convergence(model, small_screen, split, KEY, SETTINGS, ks=(1,), n_cells=2)
    assert few["metric"].tolist() == ["inll_macro_k1"]


def test_convergence_refuses_what_it_cannot_do(
    fitted: Models, small_screen: AnnData, split: Split
) -> None:
    for options, message in (
        ({"ks": ()}, "ks is empty"),
        ({"ks": (0, 1)}, "ks=0 must be at least 1"),
        ({"n_cells": 0}, "n_cells=0 must be at least 1"),
    ):
        with pytest.raises(OptionError, match=message):
            particle_convergence(
                fitted["vae"],
                small_screen,
                split,
                KEY,
                SETTINGS,
                **options,
            )
