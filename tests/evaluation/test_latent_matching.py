"""Matching learnt latents to true ones: invariances, brute force, latents that mean nothing."""

from itertools import permutations
from typing import Any

import numpy as np
import pytest
from scipy import stats

from sparseshift.errors import OptionError
from sparseshift.evaluation.latent_matching import (
    Correlation,
    correlations,
    match_latents,
)

KINDS: tuple[Correlation, ...] = ("pearson", "spearman")
every_kind = pytest.mark.parametrize("kind", KINDS)


def latents(n_true: int = 4, n_learnt: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Sixty cells; every learnt latent mixes true ones with noise."""
    rng = np.random.default_rng(seed)
    true = rng.normal(size=(60, n_true))
    mixing = rng.normal(size=(n_true, n_learnt))
    return true, true @ mixing + rng.normal(size=(60, n_learnt))


@every_kind
def test_correlations_are_those_of_scipy(kind: Correlation) -> None:
    true, learnt = latents(3, 5)
    learnt = np.round(learnt)  # ties
    found = correlations(true, learnt, kind)
    reference = {"pearson": stats.pearsonr, "spearman": stats.spearmanr}[kind]
    expected = [
        [reference(true[:, i], learnt[:, j]).statistic for j in range(5)] for i in range(3)
    ]
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize(("n_true", "n_learnt"), [(4, 4), (5, 3), (3, 5), (1, 4), (4, 1)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_matching_is_the_best_of_all(n_true: int, n_learnt: int, seed: int) -> None:
    true, learnt = latents(n_true, n_learnt, seed)
    r = np.abs(correlations(true, learnt))
    # a column of zeros for each true latent that may stay alone
    padded = np.hstack([r, np.zeros((n_true, n_true))])
    best = max(
        sum(padded[i, j] for i, j in enumerate(chosen))
        for chosen in permutations(range(padded.shape[1]), n_true)
    )
    matching = match_latents(true, learnt)
    assert matching.mcc == pytest.approx(best / n_true, abs=1e-12)
    taken = matching.learnt[matching.learnt >= 0]
    assert len(set(taken.tolist())) == len(taken) == min(n_true, n_learnt)
    for i, j in enumerate(matching.learnt):
        assert matching.correlation[i] == (r[i, j] if j >= 0 else 0.0)


@every_kind
def test_order_sign_and_scale_change_nothing(kind: Correlation) -> None:
    true, learnt = latents()
    expected = match_latents(true, learnt, kind)
    order = np.array([2, 0, 3, 1])
    changed = (learnt * [3.0, -0.1, 1e9, -1e-9] + [0.0, 5.0, -2.0, 1e-9])[:, order]
    found = match_latents(true, changed, kind)
    np.testing.assert_array_equal(order[found.learnt], expected.learnt)
    np.testing.assert_allclose(found.correlation, expected.correlation, atol=1e-9)


@every_kind
def test_signed_matches_are_lost_with_the_sign(kind: Correlation) -> None:
    true, _ = latents()
    turned = true * [1.0, -1.0, 2.0, 1.0]
    found = match_latents(true, turned, kind, signed=True)
    assert found.learnt[[0, 2, 3]].tolist() == [0, 2, 3]
    assert found.correlation[1] < 0.5
    assert match_latents(true, turned, kind).mcc == pytest.approx(1.0)
    assert match_latents(true, -true, kind, signed=True).mcc < 0.5


def test_ranks_do_not_see_a_monotone_warp() -> None:
    true, learnt = latents()
    warped = np.exp(2.0 * learnt)
    expected, found = (
        match_latents(true, learnt, "spearman"),
        match_latents(true, warped, "spearman"),
    )
    np.testing.assert_allclose(found.correlation, expected.correlation, atol=1e-12)
    assert match_latents(true, warped).mcc < match_latents(true, learnt).mcc


def test_the_truth_matches_itself() -> None:
    true, _ = latents()
    matching = match_latents(true, true.astype(np.float32))
    assert matching.learnt.tolist() == [0, 1, 2, 3]
    assert matching.mcc == pytest.approx(1.0, abs=1e-9)


@every_kind
@pytest.mark.filterwarnings("error")
def test_constant_latents_match_nothing(kind: Correlation) -> None:
    true, learnt = latents()
    dead = learnt.copy()
    dead[:, 1] = 0.1  # not exact in binary, so its mean is not exact either
    dead[:, 3] = 0.0
    found = match_latents(true, dead, kind)
    assert (correlations(true, dead, kind)[:, [1, 3]] == 0.0).all()
    assert not {1, 3} & set(found.learnt.tolist())
    assert (found.learnt == -1).sum() == 2
    assert (found.correlation[found.learnt == -1] == 0.0).all()
    alive = match_latents(true, learnt[:, [0, 2]], kind)
    assert found.mcc == pytest.approx(alive.mcc, abs=1e-12)
    never_moved = match_latents(np.full((60, 2), 3.0), learnt, kind)
    assert never_moved.learnt.tolist() == [-1, -1]
    assert never_moved.mcc == 0.0


def test_missing_latents_count_as_zero() -> None:
    true, _ = latents(4)
    matching = match_latents(true, true[:, [2, 0]])
    assert matching.learnt.tolist() == [1, -1, 0, -1]
    assert matching.mcc == pytest.approx(0.5, abs=1e-12)


@pytest.mark.filterwarnings("error")
def test_extreme_units_are_still_units() -> None:
    true, learnt = latents()
    expected = correlations(true, learnt)
    np.testing.assert_allclose(correlations(true * 1e300, learnt * 1e-300), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("true", "learnt", "message"),
    [
        (np.zeros((5, 2)), np.zeros((6, 2)), "of 5 cells and the learnt ones of 6"),
        (np.zeros((1, 2)), np.zeros((1, 2)), "pass at least 2"),
        (np.zeros(5), np.zeros((5, 2)), r"true latents have shape \(5,\)"),
        (np.zeros((5, 2)), np.zeros((5, 0)), r"learnt latents have shape \(5, 0\)"),
        (
            np.zeros((5, 2)),
            np.diag([np.nan, 1.0, np.inf, 1.0, 1.0]),
            "2 of 5 cells are not finite",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(true: Any, learnt: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        match_latents(true, learnt)


def test_an_unknown_correlation_is_refused() -> None:
    with pytest.raises(OptionError, match="kind='kendall' is not one of"):
        match_latents(*latents(), kind="kendall")  # type: ignore[arg-type]
