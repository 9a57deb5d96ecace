"""Edges found against true edges: scikit-learn where latents match, and where they do not."""

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_fscore_support

from sparseshift.errors import OptionError
from sparseshift.evaluation.graph_recovery import graph_average_precision, graph_recovery
from sparseshift.evaluation.latent_matching import LatentMatching, match_latents


def matching_of(*learnt: int) -> LatentMatching:
    """A matching to these learnt latents; the correlations do not matter here."""
    return LatentMatching(np.array(learnt), (np.array(learnt) >= 0).astype(float))


def graphs(n_latents: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A true graph of twelve perturbations and one that shares most of its edges."""
    rng = np.random.default_rng(seed)
    true = rng.random((12, n_latents)) < 0.3
    return true, true ^ (rng.random(true.shape) < 0.2)


@pytest.mark.parametrize("seed", range(4))
def test_it_is_that_of_scikit_learn_where_latents_match(seed: int) -> None:
    true, found = graphs(seed=seed)
    score = graph_recovery(true, found, matching_of(0, 1, 2, 3))
    expected = precision_recall_fscore_support(
        true.ravel(), found.ravel(), average="binary", zero_division=0
    )[:3]
    np.testing.assert_allclose(score[:3], expected, atol=1e-12)
    assert score.shd == (true ^ found).sum()


def test_order_and_sign_of_learnt_latents_change_nothing() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(50, 4))
    learnt = z + 0.3 * rng.normal(size=z.shape)
    true, found = graphs()
    order = [3, 1, 0, 2]
    signs = np.array([-1.0, 1.0, 1.0, -1.0])
    assert graph_recovery(true, found, match_latents(z, learnt)) == graph_recovery(
        true, found[:, order], match_latents(z, (learnt * signs)[:, order])
    )


def test_edges_of_surplus_latents_are_wrong() -> None:
    true, _ = graphs()
    surplus = np.zeros((12, 2), dtype=bool)
    surplus[:5, 1] = True
    score = graph_recovery(true, np.hstack([true, surplus]), matching_of(0, 1, 2, 3))
    n = int(true.sum())
    assert (score.n_correct, score.n_found, score.n_true, score.shd) == (n, n + 5, n, 5)
    assert score.precision == n / (n + 5)
    assert score.recall == 1.0
    empty = np.zeros((12, 2), dtype=bool)
    assert graph_recovery(true, np.hstack([true, empty]), matching_of(0, 1, 2, 3)).f1 == 1.0


def test_edges_of_true_latents_without_a_match_are_missed() -> None:
    true, _ = graphs()
    score = graph_recovery(true, true[:, [2, 0]], matching_of(1, -1, 0, -1))
    kept, n = int(true[:, [0, 2]].sum()), int(true.sum())
    assert (score.n_correct, score.n_found, score.n_true) == (kept, kept, n)
    assert score.precision == 1.0
    assert score.recall == kept / n
    # a latent that is there but matched to nothing is both
    dead = graph_recovery(true, true, matching_of(0, -1, 2, -1))
    assert (dead.n_correct, dead.n_found) == (kept, n)


@pytest.mark.parametrize("as_mask", [False, True])
def test_only_the_given_perturbations_are_scored(as_mask: bool) -> None:
    true, found = graphs()
    found[6:] = ~true[6:]
    rows: np.ndarray = np.arange(12) < 6 if as_mask else np.arange(6)
    matching = matching_of(0, 1, 2, 3)
    part = graph_recovery(true, found, matching, rows)
    assert part == graph_recovery(true[:6], found[:6], matching)
    assert part.f1 > graph_recovery(true, found, matching).f1


@pytest.mark.filterwarnings("error")
def test_ratios_over_nothing_are_zero() -> None:
    true, none = graphs()[0], np.zeros((12, 4), dtype=bool)
    matching = matching_of(0, 1, 2, 3)
    for a, b in ((true, none), (none, true), (none, none)):
        expected = precision_recall_fscore_support(
            a.ravel(), b.ravel(), average="binary", zero_division=0
        )[:3]
        assert graph_recovery(a, b, matching)[:3] == expected == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("true", "found", "matching", "message"),
    [
        (np.ones((3, 2), bool), np.ones((3, 2)), (0, 1), r"found_edges has dtype float64.*> 0\.5"),
        (np.ones(3, bool), np.ones((3, 2), bool), (0, 1), "true_edges has dtype bool and shape"),
        (
            np.ones((3, 2), bool),
            np.ones((4, 2), bool),
            (0, 1),
            "3 perturbations and found_edges 4",
        ),
        (
            np.ones((3, 2), bool),
            np.ones((3, 2), bool),
            (0, 1, -1),
            "matching is of 3 true latents",
        ),
        (
            np.ones((3, 2), bool),
            np.ones((3, 2), bool),
            (0, 2),
            "up to number 2; the graphs have 2",
        ),
    ],
)
def test_graphs_that_do_not_fit_are_refused(
    true: Any, found: Any, matching: tuple[int, ...], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        graph_recovery(true, found, matching_of(*matching))


@pytest.mark.parametrize("seed", range(4))
def test_average_precision_is_that_of_scikit_learn_where_latents_match(seed: int) -> None:
    true, _ = graphs(seed=seed)
    inclusion = np.random.default_rng(seed).random(true.shape)
    order = [3, 1, 0, 2]
    back = matching_of(*np.argsort(order).tolist())
    expected = average_precision_score(true.ravel(), inclusion.ravel())
    found = graph_average_precision(true, inclusion[:, order], back)
    assert found == pytest.approx(expected)
    assert graph_average_precision(true, true.astype(float), matching_of(0, 1, 2, 3)) == 1.0


def test_average_precision_of_surplus_and_missing_latents() -> None:
    true, _ = graphs()
    exact = true.astype(float)
    surplus = np.hstack([exact, np.ones((12, 1))])  # as sure of twelve wrong edges as of the true
    n = int(true.sum())
    score = graph_average_precision(true, surplus, matching_of(0, 1, 2, 3))
    assert score == pytest.approx(n / (n + 12))
    # edges of a latent without a match come after all others
    missing = graph_average_precision(true, exact[:, 1:], matching_of(-1, 0, 1, 2))
    kept = int(true[:, 1:].sum())
    precision = n / true.size  # once everything is called
    assert missing > kept / n
    assert missing < kept / n + (n - kept) / n * max(precision, 0.6)
    assert graph_average_precision(np.zeros_like(true), exact, matching_of(0, 1, 2, 3)) == 0.0


def test_average_precision_refuses_what_does_not_fit() -> None:
    true, _ = graphs()
    with pytest.raises(OptionError, match="true_edges has 12 perturbations and found_edges 11"):
        graph_average_precision(true, true[:11].astype(float), matching_of(0, 1, 2, 3))
