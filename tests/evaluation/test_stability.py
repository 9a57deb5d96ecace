"""Agreement of fits: permuted and flipped copies agree, unrelated ones do not."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from sparseshift.errors import OptionError
from sparseshift.evaluation.stability import agreement, edge_stability, udr

ALL = np.ones(4, bool)
EDGES = np.random.default_rng(9).random((12, 4)) < 0.3


@pytest.fixture
def latents() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(400, 4))


@pytest.fixture
def copy(latents: np.ndarray) -> np.ndarray:
    return (latents * [2.0, -1.0, 0.5, -3.0])[:, [2, 0, 3, 1]]


def test_order_sign_and_scale_do_not_matter(latents: np.ndarray, copy: np.ndarray) -> None:
    assert agreement([latents, copy]) == pytest.approx(1.0)
    np.testing.assert_allclose(udr([latents, copy], [ALL, ALL]), 1.0, atol=0.35)
    assert edge_stability([latents, copy], [EDGES, EDGES[:, [2, 0, 3, 1]]]) == 1.0


def test_fits_without_relation_do_not_agree(latents: np.ndarray) -> None:
    other = np.random.default_rng(1).normal(size=latents.shape)
    assert agreement([latents, other]) < 0.2
    assert udr([latents, other], [ALL, ALL]).max() < 0.15


def test_udr_is_what_its_equation_says(latents: np.ndarray) -> None:
    other = latents @ np.random.default_rng(2).normal(size=(4, 4))
    known = np.array([True, True, False, True])
    r = np.abs(spearmanr(latents, other).statistic[:4, 4:])
    total = sum(r[a].max() ** 2 / r[a].sum() for a in range(4))
    total += sum(r[:, b].max() ** 2 / r[:, b].sum() for b in (0, 1, 3))
    np.testing.assert_allclose(udr([latents, other], [ALL, known]), total / 7)


def test_udr_of_a_fit_is_the_median_over_its_pairs(latents: np.ndarray, copy: np.ndarray) -> None:
    odd = np.random.default_rng(3).normal(size=latents.shape)
    fits = [latents, copy, odd]
    pair = {(i, j): udr([fits[i], fits[j]], [ALL, ALL])[0] for i in range(3) for j in range(i)}
    expected = [
        np.median([value for key, value in pair.items() if fit in key]) for fit in range(3)
    ]
    np.testing.assert_allclose(udr(fits, [ALL] * 3), expected)


def test_a_rotation_lowers_both(latents: np.ndarray) -> None:
    angle = np.pi / 4
    turned = latents.copy()
    turned[:, :2] = latents[:, :2] @ [
        [np.cos(angle), -np.sin(angle)],
        [np.sin(angle), np.cos(angle)],
    ]
    assert agreement([latents, turned]) == pytest.approx((2 + np.sqrt(2)) / 4, abs=0.03)
    assert udr([latents, turned], [ALL, ALL])[0] < udr([latents, latents], [ALL, ALL])[0] - 0.1


def test_nothing_known_scores_nothing(latents: np.ndarray) -> None:
    assert udr([latents, latents], [~ALL, ~ALL]).tolist() == [0.0, 0.0]


def test_fits_of_different_size(latents: np.ndarray) -> None:
    more = np.column_stack([latents, np.random.default_rng(4).normal(size=(400, 2))])
    assert (
        agreement([latents, more]) == agreement([more, latents]) == pytest.approx(4 / 6, abs=0.01)
    )
    edges = np.column_stack([EDGES, np.ones((12, 2), bool)])
    share = EDGES.sum() / edges.sum()
    assert edge_stability([latents, more], [EDGES, edges]) == pytest.approx(share)
    assert edge_stability([more, latents], [edges, EDGES]) == pytest.approx(share)


def test_no_edges_have_no_stability(latents: np.ndarray) -> None:
    none = np.zeros((12, 4), bool)
    assert np.isnan(edge_stability([latents, latents], [none, none]))
    assert edge_stability([latents, latents], [none, EDGES]) == 0.0


def test_one_fit_is_not_enough(latents: np.ndarray) -> None:
    for score in (
        lambda: agreement([latents]),
        lambda: udr([latents], [ALL]),
        lambda: edge_stability([latents], [EDGES]),
    ):
        with pytest.raises(OptionError, match="two fits or more; there is 1"):
            score()
