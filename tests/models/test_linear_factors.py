"""Classical decompositions as arrays: what scikit-learn says, and laws of each."""

import warnings

import numpy as np
import pytest
from scipy.optimize import nnls
from sklearn.decomposition import NMF, PCA, FactorAnalysis, FastICA

from sparseshift.errors import OptionError
from sparseshift.models.linear_factors import METHODS, LinearFactors, fit_linear_factors

every_method = pytest.mark.parametrize("method", list(METHODS))


@pytest.fixture(scope="module")
def profiles() -> np.ndarray:
    """150 cells, 12 genes, three non-Gaussian latents; the last gene never varies."""
    rng = np.random.default_rng(0)
    z = rng.exponential(size=(150, 3))
    found = z @ rng.exponential(size=(3, 12)) + 0.5 * rng.random((150, 12))
    found[:, -1] = 0.0
    return found


@pytest.fixture(scope="module")
def fitted(profiles: np.ndarray) -> dict[str, LinearFactors]:
    return {method: fit_linear_factors(method, profiles, 3, seed=0) for method in METHODS}


def test_pca_is_the_singular_value_decomposition(
    profiles: np.ndarray, fitted: dict[str, LinearFactors]
) -> None:
    centred = profiles - profiles.mean(0)
    _, _, vt = np.linalg.svd(centred, full_matrices=False)
    z = fitted["pca"].transform(profiles)
    np.testing.assert_allclose(np.abs(z), np.abs(centred @ vt[:3].T), atol=1e-8)
    expected = np.abs(PCA(3).fit_transform(profiles))
    np.testing.assert_allclose(np.abs(z), expected, atol=1e-8)


def test_factor_analysis_is_scikit_learns_on_all_cells(
    profiles: np.ndarray, fitted: dict[str, LinearFactors]
) -> None:
    reference = FactorAnalysis(3, svd_method="lapack", tol=1e-7, max_iter=5000).fit(
        profiles[:, :-1]
    )
    found = fitted["factor_analysis"]
    assert found.noise_variance is not None
    np.testing.assert_allclose(found.noise_variance[:-1], reference.noise_variance_, rtol=0.01)
    covariance = found.loadings.T @ found.loadings + np.diag(found.noise_variance)
    np.testing.assert_allclose(covariance[:-1, :-1], reference.get_covariance(), rtol=0.01)
    r = np.abs(np.corrcoef(found.transform(profiles).T, reference.transform(profiles[:, :-1]).T))
    np.testing.assert_allclose(np.diag(r[:3, 3:]), 1.0, atol=1e-4)


def test_factor_scores_are_posterior_means(
    profiles: np.ndarray, fitted: dict[str, LinearFactors]
) -> None:
    found = fitted["factor_analysis"]
    assert found.noise_variance is not None
    # the regression of z on y under the joint Gaussian
    covariance = found.loadings.T @ found.loadings + np.diag(found.noise_variance)
    expected = (profiles - found.mean) @ np.linalg.solve(covariance, found.loadings.T)
    np.testing.assert_allclose(found.transform(profiles), expected, atol=1e-6)


@pytest.mark.filterwarnings("ignore:There are some small singular values")
def test_ica_is_scikit_learns(profiles: np.ndarray, fitted: dict[str, LinearFactors]) -> None:
    reference = FastICA(
        3, whiten="unit-variance", whiten_solver="eigh", max_iter=1000, random_state=0
    )
    z = fitted["fast_ica"].transform(profiles)
    np.testing.assert_allclose(np.abs(z), np.abs(reference.fit_transform(profiles)), atol=1e-8)
    np.testing.assert_allclose(np.cov(z.T, ddof=0), np.eye(3), atol=1e-6)
    loadings, projection = fitted["fast_ica"].loadings, fitted["fast_ica"].projection
    assert projection is not None
    np.testing.assert_allclose(loadings @ projection, np.eye(3), atol=1e-8)


def test_nmf_latents_solve_non_negative_least_squares(
    profiles: np.ndarray, fitted: dict[str, LinearFactors]
) -> None:
    loadings = fitted["nmf"].loadings
    assert (loadings >= 0).all()
    z = fitted["nmf"].transform(profiles)
    expected = [nnls(loadings.T, profile)[0] for profile in profiles]
    np.testing.assert_allclose(z, expected, atol=1e-8)
    reference = NMF(3, init="nndsvda", max_iter=500, random_state=0).fit(profiles)
    error = np.linalg.norm(profiles - z @ loadings)
    assert error <= reference.reconstruction_err_ * (1 + 1e-9)


@every_method
def test_a_cell_has_the_same_latents_whoever_else_is_there(
    method: str, profiles: np.ndarray, fitted: dict[str, LinearFactors]
) -> None:
    z = fitted[method].transform(profiles)
    assert z.shape == (150, 3)
    np.testing.assert_allclose(fitted[method].transform(profiles[7:9]), z[7:9], atol=1e-10)
    assert fitted[method].transform(profiles[:0]).shape == (0, 3)


@every_method
def test_the_same_seed_gives_the_same_with_fixed_signs(
    method: str, profiles: np.ndarray, fitted: dict[str, LinearFactors]
) -> None:
    again = fit_linear_factors(method, profiles, 3, seed=0)
    for one, other in zip(again, fitted[method], strict=True):
        np.testing.assert_array_equal(one, other)
    loadings = again.loadings
    largest = loadings[np.arange(3), np.abs(loadings).argmax(1)]
    assert (largest > 0).all()


@every_method
def test_a_gene_constant_in_training_moves_no_latent(
    method: str, profiles: np.ndarray, fitted: dict[str, LinearFactors]
) -> None:
    changed = profiles.copy()
    changed[:, -1] = 5.0
    z = fitted[method].transform(profiles)
    np.testing.assert_allclose(fitted[method].transform(changed), z, atol=1e-6)


@every_method
def test_more_latents_than_directions_are_refused(method: str, profiles: np.ndarray) -> None:
    with pytest.raises(OptionError, match=r"n_latents=12: 150 cells by 12 genes vary in 11"):
        fit_linear_factors(method, profiles, 12, seed=0)
    few = profiles[:3]
    with pytest.raises(OptionError, match="n_latents=4: 3 cells by 12 genes"):
        fit_linear_factors(method, few, 4, seed=0)


def test_an_unknown_method_is_refused(profiles: np.ndarray) -> None:
    with pytest.raises(OptionError, match=r"no method 'umap'\. There are: pca, factor_analysis"):
        fit_linear_factors("umap", profiles, 2, seed=0)


def test_latents_that_are_dead_or_alike_still_have_a_solution(profiles: np.ndarray) -> None:
    loadings = np.vstack([profiles[0], np.zeros(12), profiles[0], profiles[1]])
    z = LinearFactors(np.zeros(12), loadings).transform(profiles[:2])
    np.testing.assert_allclose(z @ loadings, profiles[:2], atol=1e-8)
    assert (z >= 0).all()


def test_what_scikit_learn_warns_of_is_logged(
    profiles: np.ndarray, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def unsure(*_: object) -> LinearFactors:
        warnings.warn("did not converge\nTry more", stacklevel=1)
        return LinearFactors(np.zeros(12), np.zeros((2, 12)))

    monkeypatch.setitem(METHODS, "pca", unsure)
    fit_linear_factors("pca", profiles, 2, seed=0)
    assert caplog.messages == ["pca: did not converge"]
