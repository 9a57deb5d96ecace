"""R_con: the MCC where the graph determines all latents, more where it leaves mixing open."""

import numpy as np
import pytest

from sparseshift.errors import OptionError
from sparseshift.evaluation.graph_consistency import graph_consistency, may_mix
from sparseshift.evaluation.latent_matching import match_latents

APART = np.eye(3, dtype=bool)


@pytest.fixture
def true() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(500, 3))


def _score(true: np.ndarray, learnt: np.ndarray, edges: np.ndarray) -> float:
    return graph_consistency(true, learnt, edges, match_latents(true, learnt))


def test_what_may_be_mixed_follows_from_who_is_targeted_with_whom() -> None:
    # 0 is hit whenever 1 is, and alone; 2 never
    edges = np.array([[True, True, False], [True, False, False]])
    expected = [[True, True, True], [False, True, True], [False, False, True]]
    assert may_mix(edges).tolist() == expected


def test_mixing_that_adds_no_edge_is_mixing_that_is_open() -> None:
    """By brute force: shifts of a mixture have no more edges, whatever the sizes of the shifts."""
    rng = np.random.default_rng(1)
    for _ in range(200):
        edges = rng.random((4, 3)) < 0.4
        shifts = edges * rng.normal(size=edges.shape)
        for i in range(3):
            for j in set(range(3)) - {i}:
                mixed = np.count_nonzero(shifts[:, i] + 0.7 * shifts[:, j])
                stays = set(np.flatnonzero(shifts[:, i] + 0.7 * shifts[:, j])) <= set(
                    np.flatnonzero(shifts[:, i])
                )
                assert may_mix(edges)[i, j] == stays, (edges, i, j, mixed)


def test_it_is_the_mcc_where_the_graph_determines_every_latent(true: np.ndarray) -> None:
    learnt = true @ np.random.default_rng(2).normal(size=(3, 3))
    assert _score(true, learnt, APART) == pytest.approx(match_latents(true, learnt).mcc)


def test_open_mixing_costs_nothing_and_other_mixing_does(true: np.ndarray) -> None:
    edges = np.array([[True, True, False], [True, False, False], [False, False, True]])
    learnt = true.copy()
    learnt[:, 0] += 0.8 * true[:, 1]
    assert _score(true, learnt, edges) == pytest.approx(1.0)
    assert match_latents(true, learnt).mcc < 0.95
    closed = true.copy()
    closed[:, 1] += 0.8 * true[:, 0]
    assert _score(true, closed, edges) < 0.95


def test_missing_constant_and_surplus_latents(true: np.ndarray) -> None:
    assert _score(true, true[:, :2], APART) == pytest.approx(2 / 3)
    assert _score(true, np.ones_like(true), APART) == 0.0
    more = np.column_stack([true, np.random.default_rng(3).normal(size=(500, 2))])
    assert _score(true, more, APART) == pytest.approx(1.0)
    still = true.copy()
    still[:, 1] = 4.0
    assert _score(still, true, APART) == pytest.approx(2 / 3)


def test_what_does_not_fit_is_refused(true: np.ndarray) -> None:
    with pytest.raises(OptionError, match="expected bool"):
        may_mix(np.eye(3))
    with pytest.raises(
        OptionError, match="true_edges has 2 latents, the matching 3 and the cells 3"
    ):
        _score(true, true, APART[:, :2])
