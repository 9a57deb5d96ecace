"""Random graphs, and the graphical criterion against its definition."""

import numpy as np
import pytest

from sparseshift.data.simulators.graphs import identifiable_latents, random_graph
from sparseshift.errors import OptionError


def by_definition(graph: np.ndarray) -> list[bool]:
    """For each latent: the targets that all perturbations of it share are the latent alone."""
    found = []
    for i in range(graph.shape[1]):
        parents = np.flatnonzero(graph[:, i])
        shared = set(range(graph.shape[1]))
        for a in parents:
            shared &= set(np.flatnonzero(graph[a]).tolist())
        found.append(len(parents) > 0 and shared == {i})
    return found


@pytest.mark.parametrize("seed", range(20))
def test_the_criterion_is_its_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = rng.random((rng.integers(1, 9), rng.integers(1, 6))) < rng.random()
    assert identifiable_latents(graph).tolist() == by_definition(graph)


def test_one_to_three_targets_without_replacement() -> None:
    targets = random_graph(np.random.default_rng(0), 3000, 15).sum(1)
    sizes, counts = np.unique(targets, return_counts=True)
    assert sizes.tolist() == [1, 2, 3]
    assert np.abs(counts - 1000).max() < 5.0 * np.sqrt(3000 * 2 / 9)


@pytest.mark.parametrize("density", [0.05, 0.5, 0.9, 1.0])
def test_density(density: float) -> None:
    graph = random_graph(np.random.default_rng(0), 2000, 15, density=density)
    assert graph.any(axis=1).all()
    never = (1.0 - density) ** 15  # a row without any gets one
    expected = density + never / 15
    error = np.sqrt(density * (1.0 - density) / graph.size)
    assert abs(graph.mean() - expected) <= 5.0 * error


@pytest.mark.parametrize("seed", range(5))
def test_identifiable_graphs_satisfy_the_criterion(seed: int) -> None:
    graph = random_graph(np.random.default_rng(seed), 20, 10, kind="identifiable")
    assert all(by_definition(graph))
    assert set(graph.sum(1).tolist()) <= {1, 2, 3}


@pytest.mark.parametrize("n_latents", [6, 7])
def test_confounded_graphs_satisfy_it_for_no_pair(n_latents: int) -> None:
    graph = random_graph(np.random.default_rng(0), 40, n_latents, kind="confounded")
    paired = n_latents - n_latents % 2
    np.testing.assert_array_equal(graph[:, 0:paired:2], graph[:, 1:paired:2])
    assert not identifiable_latents(graph)[:paired].any()
    assert graph.any(axis=1).all()


def test_what_is_impossible_is_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(OptionError, match=r"graph='dense' is not one of random, identifiable"):
        random_graph(rng, 5, 5, kind="dense")
    for density in (0.0, 1.5, -1.0):
        with pytest.raises(OptionError, match=f"density={density} must be above 0 and at most 1"):
            random_graph(rng, 5, 5, density=density)
    with pytest.raises(OptionError, match="found no graph of 2 perturbations and 9 latents"):
        random_graph(rng, 2, 9, kind="identifiable")
