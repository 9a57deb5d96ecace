"""Edges over refits: blind to order, sign and scale of latents; noise edges stay as rare as a binomial tail."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from sparseshift.errors import OptionError
from sparseshift.evaluation.stable_graph import MIN_CORRELATION, Refit, StableGraph, stable_graph

PERTURBATIONS = [f"P{i}" for i in range(12)]
N_LATENTS = 4


def refit(
    latents: np.ndarray,
    edges: np.ndarray,
    effects: np.ndarray | None = None,
    names: list[str] | None = None,
) -> Refit:
    effects = np.ones(edges.shape) if effects is None else effects
    index = pd.Index(PERTURBATIONS[: len(edges)] if names is None else names, name="perturbation")
    columns = [f"z{j}" for j in range(latents.shape[1])]
    tables = (pd.DataFrame(values, index, columns) for values in (edges * 0.9 + 0.05, effects))
    return Refit(latents, *tables)


@pytest.fixture
def latents() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(300, N_LATENTS))


@pytest.fixture
def edges() -> np.ndarray:
    return np.random.default_rng(1).random((len(PERTURBATIONS), N_LATENTS)) < 0.3


@pytest.fixture
def effects() -> np.ndarray:
    return np.random.default_rng(2).normal(2.0, 1.0, size=(len(PERTURBATIONS), N_LATENTS))


def changed(fit: Refit, order: list[int], sign: list[float], scale: float = 1.0) -> Refit:
    """The same fit as another seed might have it."""
    names = [f"z{j}" for j in range(len(order))]
    tables = (
        pd.DataFrame(table.to_numpy()[:, order] * factor, table.index, names)
        for table, factor in ((fit.inclusion, 1.0), (fit.effects, np.array(sign)))
    )
    return Refit(fit.latents[:, order] * sign * scale, *tables)


def test_order_sign_and_scale_do_not_matter(
    latents: np.ndarray, edges: np.ndarray, effects: np.ndarray
) -> None:
    fit = refit(latents, edges, effects)
    copies = [
        fit,
        changed(fit, [2, 0, 3, 1], [1, -1, -1, 1]),
        changed(fit, [3, 2, 1, 0], [-1, -1, 1, -1], 7.0),
    ]
    graph = stable_graph(copies)
    assert graph.reference == 0
    np.testing.assert_array_equal(graph.frequency, edges)
    np.testing.assert_array_equal(graph.stable, edges)
    np.testing.assert_allclose(graph.effect, np.where(edges, effects, np.nan))
    np.testing.assert_allclose(graph.effect_sd, np.where(edges, 0.0, np.nan), atol=1e-12)
    np.testing.assert_allclose(graph.sign_agreement, np.where(edges, 1.0, np.nan))
    np.testing.assert_allclose(graph.latents["agreement"], 1.0)
    assert graph.latents["found"].tolist() == [3] * N_LATENTS
    assert graph.latents["n_edges"].tolist() == edges.sum(axis=0).tolist()


def test_the_reference_names_latents_and_signs(
    latents: np.ndarray, edges: np.ndarray, effects: np.ndarray
) -> None:
    fit = refit(latents, edges, effects)
    order = [2, 0, 3, 1]
    other = changed(fit, order, [1, -1, -1, 1])
    first, second = stable_graph([fit, other], 0), stable_graph([fit, other], 1)
    np.testing.assert_array_equal(second.frequency, first.frequency.to_numpy()[:, order])
    signed = first.effect.to_numpy()[:, order] * [1, -1, -1, 1]
    np.testing.assert_allclose(second.effect, signed)
    outside = stable_graph([other, other], fit)
    assert (outside.reference, outside.n_refits) == (-1, 2)
    np.testing.assert_allclose(outside.effect, first.effect)


def test_a_fit_that_only_names_is_not_counted(latents: np.ndarray, edges: np.ndarray) -> None:
    dense = refit(latents, np.ones_like(edges))
    graph = stable_graph([refit(latents, edges)] * 2, dense)
    np.testing.assert_array_equal(graph.frequency, edges)


def test_frequency_counts_the_refits_with_the_edge(latents: np.ndarray) -> None:
    none = np.zeros((1, N_LATENTS), bool)
    fits = []
    for k in range(4):
        own = none.copy()
        own[0, 0], own[0, 1], own[0, 2] = k < 3, k < 2, True
        fits.append(refit(latents, own, np.array([[1.0 + k, 1.0, (-1.0) ** k, 9.0]])))
    graph = stable_graph(fits, 0)
    nan = np.nan
    row = graph.to_frame().set_index("latent")
    assert row["frequency"].tolist() == [0.75, 0.5, 1.0, 0.0]
    assert row["stable"].tolist() == [True, False, True, False]
    # over the three with the edge: the effect where the mask is off says nothing
    np.testing.assert_allclose(row["effect"], [2.0, 1.0, 0.0, nan])
    np.testing.assert_allclose(row["effect_sd"], [1.0, 0.0, np.sqrt(4 / 3), nan])
    np.testing.assert_allclose(row["sign_agreement"], [1.0, 1.0, 0.5, nan])
    np.testing.assert_allclose(row["inclusion"], [0.725, 0.5, 0.95, 0.05])
    assert graph.latents["n_edges"].tolist() == [1, 0, 1, 0]
    assert stable_graph(fits, 0, threshold=0.8).stable.to_numpy().sum() == 1


def test_perturbations_are_counted_where_they_are(latents: np.ndarray) -> None:
    def fit(*names: str) -> Refit:
        return refit(latents, np.ones((len(names), N_LATENTS), bool), names=list(names))

    graph = stable_graph([fit("A", "B"), fit("B", "A"), fit("A"), fit("A", "C")], 0)
    assert graph.n_with.to_dict() == {"A": 4, "B": 2, "C": 1}
    assert (graph.frequency == 1.0).all(axis=None)
    # one refit of four is not enough
    assert graph.stable.all(axis=1).to_dict() == {"A": True, "B": True, "C": False}


def test_a_latent_that_a_refit_lacks_has_no_edges_there(
    latents: np.ndarray, edges: np.ndarray
) -> None:
    full = np.ones_like(edges)
    dead = latents.copy()
    dead[:, 1] = 0.1
    noise = latents.copy()
    noise[:, 1] = np.random.default_rng(5).normal(size=300)
    fits = [
        refit(latents, full),
        refit(dead, full),
        refit(noise, full),
        refit(latents[:, [3, 0, 2]], full[:, :3]),
    ]
    graph = stable_graph(fits, 0)
    assert graph.latents["found"].tolist() == [4, 1, 4, 4]
    assert (graph.frequency["z1"] == 0.25).all()
    assert (graph.frequency[["z0", "z2", "z3"]] == 1.0).all(axis=None)
    agreement = graph.latents["agreement"].to_numpy()
    assert agreement[1] < 0.1
    np.testing.assert_allclose(agreement[[0, 2, 3]], 1.0)
    # a dead latent of the reference is not even found in itself
    assert stable_graph(fits, 1).latents["found"].tolist() == [4, 0, 4, 4]


def test_a_rotated_latent_is_absent(latents: np.ndarray, edges: np.ndarray) -> None:
    turned = latents.copy()
    half = np.sqrt(0.5)
    latents[:, :2] = np.linalg.qr(latents[:, :2] - latents[:, :2].mean(axis=0))[0]
    turned[:, :2] = latents[:, :2] @ np.array([[half, -half], [half, half]])
    graph = stable_graph([refit(latents, edges), refit(turned, edges)], 0)
    assert graph.latents["found"].tolist() == [1, 1, 2, 2]
    assert half < MIN_CORRELATION
    loose = stable_graph([refit(latents, edges), refit(turned, edges)], 0, min_correlation=0.7)
    assert loose.latents["found"].tolist() == [2, 2, 2, 2]


def test_the_medoid_agrees_best_and_the_first_of_equals_is_taken(
    latents: np.ndarray, edges: np.ndarray
) -> None:
    rng = np.random.default_rng(3)
    noisy = [latents + s * rng.normal(size=latents.shape) for s in (1.5, 1.0, 0.1, 1.2)]
    assert stable_graph([refit(values, edges) for values in noisy]).reference == 2
    same = refit(latents, edges)
    others = [
        changed(same, [1, 0, 2, 3], [1, 1, -1, 1]),
        same,
        changed(same, [3, 0, 2, 1], [1] * 4),
    ]
    assert stable_graph(others).reference == 0
    assert stable_graph(others[::-1]).reference == 0


@pytest.mark.parametrize(
    ("n_refits", "density", "threshold"), [(4, 0.1, 0.75), (10, 0.2, 0.6), (8, 0.3, 0.75)]
)
def test_independent_random_graphs_have_as_many_stable_edges_as_a_binomial_tail(
    n_refits: int, density: float, threshold: float
) -> None:
    rng = np.random.default_rng(4)
    latents = rng.normal(size=(200, 10))
    n_perturbations, n_entries = 700, 7000
    names = [f"P{i}" for i in range(n_perturbations)]
    fits = [refit(latents, rng.random((700, 10)) < density, names=names) for _ in range(n_refits)]
    graph = stable_graph(fits, threshold=threshold)
    tail = binom.sf(np.ceil(threshold * n_refits) - 1, n_refits, density)
    found = int(graph.stable.to_numpy().sum())
    assert binom.ppf(1e-4, n_entries, tail) <= found <= binom.isf(1e-4, n_entries, tail)
    # the bound is for any noise that has no favourite; a little slack for the draw
    assert n_entries * tail <= graph.false_edge_bound * 1.05


def test_the_bound_is_that_of_stability_selection(latents: np.ndarray, edges: np.ndarray) -> None:
    graph = stable_graph([refit(latents, edges)] * 3, threshold=0.9)
    assert graph.mean_edges == edges.sum()
    assert graph.false_edge_bound == pytest.approx(edges.sum() ** 2 / (0.8 * edges.size))


def test_the_long_table_holds_what_the_tables_hold(
    latents: np.ndarray, edges: np.ndarray, effects: np.ndarray
) -> None:
    graph: StableGraph = stable_graph([refit(latents, edges, effects), refit(latents, ~edges)])
    long = graph.to_frame()
    assert len(long) == edges.size
    assert not long.duplicated(["perturbation", "latent"]).any()
    for column in ("frequency", "inclusion", "effect", "effect_sd", "sign_agreement", "stable"):
        wide = long.pivot(index="perturbation", columns="latent", values=column)
        table = getattr(graph, column)
        np.testing.assert_array_equal(wide.loc[table.index, table.columns], table)
    assert long["stable"].dtype == bool


def test_what_cannot_be_aligned_is_refused(latents: np.ndarray, edges: np.ndarray) -> None:
    fit = refit(latents, edges)
    with pytest.raises(OptionError, match="two refits or more; there is 1"):
        stable_graph([fit])
    with pytest.raises(OptionError, match="same cells in the same order"):
        stable_graph([fit, refit(latents[:-1], edges)])
    with pytest.raises(OptionError, match=r"threshold=0.5 must be above .5"):
        stable_graph([fit, fit], threshold=0.5)
    with pytest.raises(OptionError, match="reference=2 is not one of the 2 refits"):
        stable_graph([fit, fit], 2)
    with pytest.raises(OptionError, match=r"4 latents, inclusion probabilities \(12, 3\)"):
        stable_graph([fit, Refit(latents, fit.inclusion.iloc[:, :3], fit.effects)])
    with pytest.raises(OptionError, match="must be the same, each perturbation once"):
        stable_graph([fit, Refit(latents, fit.inclusion, fit.effects[::-1])])
