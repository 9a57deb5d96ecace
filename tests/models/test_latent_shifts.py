"""Mean shifts of given latents: closed forms and scikit-learn."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from sparseshift.models.latent_shifts import label_means, least_squares_shifts, within_deviation

CODE = np.repeat([0, 1, 2, 3], [7, 5, 9, 4])  # control, A, B, A+B
DESIGN = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])


@pytest.fixture
def latents() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(25, 3)) * [1.0, 5.0, 0.1]


def test_means_by_hand(latents: np.ndarray) -> None:
    means, size = label_means(latents, CODE)
    np.testing.assert_allclose(means, [latents[k == CODE].mean(0) for k in range(4)], atol=1e-12)
    assert size.tolist() == [7, 5, 9, 4]


def test_shifts_are_the_regression_of_cells_on_the_design(latents: np.ndarray) -> None:
    found = least_squares_shifts(*label_means(latents, CODE), DESIGN)
    expected = LinearRegression(fit_intercept=False).fit(DESIGN[CODE], latents).coef_.T
    np.testing.assert_allclose(found, expected, atol=1e-10)


def test_of_singles_they_are_differences_of_means(latents: np.ndarray) -> None:
    means, size = label_means(latents[:21], CODE[:21])
    found = least_squares_shifts(means - means[0], size, DESIGN[:3])
    np.testing.assert_allclose(found, means[1:] - means[0], atol=1e-12)


def test_what_is_only_seen_together_is_split_evenly() -> None:
    found = least_squares_shifts(np.array([[4.0, -2.0]]), np.array([3]), np.array([[1.0, 1.0]]))
    np.testing.assert_allclose(found, [[2.0, -1.0], [2.0, -1.0]], atol=1e-12)


def test_deviation_is_pooled_within_labels(latents: np.ndarray) -> None:
    residual = latents - np.array([latents[k == CODE].mean(0) for k in CODE])
    expected = np.sqrt((residual**2).sum(0) / (25 - 4))
    np.testing.assert_allclose(within_deviation(latents, CODE), expected)
    # shifts between labels do not enter
    moved = latents + 100.0 * CODE[:, None]
    np.testing.assert_allclose(within_deviation(moved, CODE), expected, rtol=1e-9)


@pytest.mark.filterwarnings("error")
def test_a_latent_that_does_not_vary_keeps_its_unit(latents: np.ndarray) -> None:
    latents[:, 1] = 0.1
    latents[:, 2] = 0.0
    assert within_deviation(latents, CODE)[1:].tolist() == [1.0, 1.0]
    assert within_deviation(latents[:4], np.arange(4)).tolist() == [1.0, 1.0, 1.0]
