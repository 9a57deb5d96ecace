"""Linear R² of true latents: against scikit-learn, affine maps, dependent latents."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score

from sparseshift.errors import OptionError
from sparseshift.evaluation.latent_matching import match_latents
from sparseshift.evaluation.latent_regression import latent_r2


@pytest.fixture
def true() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(80, 4)) + 3.0


@pytest.fixture
def learnt(true: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(1)
    return np.tanh(true[:, :3] @ rng.normal(size=(3, 3))) + 0.3 * rng.normal(size=(80, 3))


def test_it_is_that_of_linear_regression(true: np.ndarray, learnt: np.ndarray) -> None:
    predicted = LinearRegression().fit(learnt, true).predict(learnt)
    expected = r2_score(true, predicted, multioutput="raw_values")
    found = latent_r2(true, learnt)
    np.testing.assert_allclose(found.per_latent, expected, atol=1e-12)
    assert found.mean == pytest.approx(expected.mean())


def test_an_affine_map_changes_nothing(true: np.ndarray, learnt: np.ndarray) -> None:
    mixing = np.random.default_rng(2).normal(size=(3, 3))
    mixed = (learnt @ mixing) * [1e6, 1.0, -1e-6] + 7.0
    np.testing.assert_allclose(
        latent_r2(true, mixed).per_latent, latent_r2(true, learnt).per_latent, atol=1e-8
    )


def test_no_matched_correlation_exceeds_its_root(true: np.ndarray, learnt: np.ndarray) -> None:
    matching, r2 = match_latents(true, learnt), latent_r2(true, learnt)
    assert (matching.correlation <= np.sqrt(r2.per_latent) + 1e-12).all()
    assert matching.mcc <= np.sqrt(r2.mean)


def test_any_invertible_mixture_of_the_truth_is_perfect(true: np.ndarray) -> None:
    mixing = np.random.default_rng(3).normal(size=(4, 4))
    assert latent_r2(true, true @ mixing).mean == pytest.approx(1.0, abs=1e-10)


@pytest.mark.filterwarnings("error")
def test_dependent_and_constant_latents_add_nothing(true: np.ndarray, learnt: np.ndarray) -> None:
    expected = latent_r2(true, learnt).per_latent
    more = np.column_stack([learnt, learnt @ [1.0, -2.0, 3.0], learnt[:, 0], np.full(80, 0.1)])
    np.testing.assert_allclose(latent_r2(true, more).per_latent, expected, atol=1e-10)
    np.testing.assert_allclose(latent_r2(true, np.ones((80, 2))).per_latent, 0.0, atol=1e-12)


@pytest.mark.filterwarnings("error")
def test_a_true_latent_that_never_moves_counts_zero(true: np.ndarray) -> None:
    still = true.copy()
    still[:, 1] = 0.1
    np.testing.assert_allclose(latent_r2(still, true).per_latent, [1.0, 0.0, 1.0, 1.0], atol=1e-10)


def test_noise_reaches_its_rank_over_the_cells() -> None:
    rng = np.random.default_rng(4)
    found = [
        latent_r2(rng.normal(size=(40, 5)), rng.normal(size=(40, 6))).mean for _ in range(200)
    ]
    assert np.mean(found) == pytest.approx(6 / 39, rel=0.05)


def test_values_that_are_not_finite_are_refused(true: np.ndarray) -> None:
    with pytest.raises(OptionError, match="not finite"):
        latent_r2(true, np.where(true > 4.0, np.nan, true))
