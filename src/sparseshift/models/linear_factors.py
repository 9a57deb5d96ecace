"""Classical decompositions of expression profiles as latents: PCA, factor analysis, ICA, NMF.

What a sparse VAE must beat in disentanglement. scikit-learn fits them; what is kept are arrays, so
that a fitted decomposition is applied without scikit-learn and saved without pickle.
"""

import logging
import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.optimize import nnls

from sparseshift.errors import OptionError

logger = logging.getLogger(__name__)


class LinearFactors(NamedTuple):
    """A fitted decomposition y ~ mean + z loadings.

    Attributes:
        mean: of training profiles, (genes,); zero for NMF.
        loadings: what a unit of each latent adds to a profile, (latents, genes).
        projection: z = (y - mean) projection, (genes, latents); None for NMF, which solves for z.
        noise_variance: of each gene, (genes,); factor analysis only.
    """

    mean: np.ndarray
    loadings: np.ndarray
    projection: np.ndarray | None = None
    noise_variance: np.ndarray | None = None

    def transform(self, profiles: np.ndarray) -> np.ndarray:
        """Latents of log-normalised profiles (cells, genes), (cells, latents) float64.

        PCA: scores. Factor analysis: posterior means. ICA: sources of unit variance. NMF: exact
        non-negative least squares, so that a cell's latents do not depend on the other cells.
        """
        profiles = np.asarray(profiles, dtype=np.float64)
        if self.projection is not None:
            return (profiles - self.mean) @ self.projection
        # |y - W h|^2 = |Q'y - R h|^2 + constant: the same problem with latents instead of genes
        q, r = np.linalg.qr(self.loadings.T)
        targets = profiles @ q
        z = [nnls(r, target)[0] for target in targets]
        return np.array(z).reshape(len(profiles), len(self.loadings))


def fit_linear_factors(
    method: str, profiles: np.ndarray, n_latents: int, seed: int
) -> LinearFactors:
    """Fits a decomposition; the same profiles and seed give the same one.

    Each latent has the sign with which its largest loading is positive.

    Args:
        method: one of `METHODS`.
        profiles: log-normalised, not negative, (cells, genes).
        n_latents: at most as many as there are directions in which profiles vary.
        seed: of ICA's start and of randomised decompositions; PCA does not use it.

    Raises:
        OptionError: an unknown method, or too many latents.
    """
    if method not in METHODS:
        raise OptionError(f"There is no method {method!r}. There are: {', '.join(METHODS)}.")
    profiles = np.asarray(profiles, dtype=np.float64)
    mean = np.zeros(profiles.shape[1]) if method == "nmf" else profiles.mean(axis=0)
    spread = _covariance_eigen(profiles - mean)[0]
    rank = int((spread > 1e-10 * spread[-1]).sum())
    if n_latents > rank:
        raise OptionError(
            f"n_latents={n_latents}: {len(profiles)} cells by {len(mean)} genes vary in {rank} "
            f"directions only, and {method} has no more latents than that. Ask for fewer."
        )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        # of directions beyond the latents; those within were counted above
        warnings.filterwarnings("ignore", message="There are some small singular values")
        factors = METHODS[method](profiles, n_latents, seed)
    for warning in caught:
        logger.warning("%s: %s", method, str(warning.message).splitlines()[0])
    return factors


def _covariance_eigen(centred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    return np.maximum(values, 0.0), vectors


def _signs(loadings: np.ndarray) -> np.ndarray:
    largest = np.abs(loadings).argmax(axis=1)
    return np.where(loadings[np.arange(len(loadings)), largest] < 0, -1.0, 1.0)


def _pca(profiles: np.ndarray, n_latents: int, _seed: int) -> LinearFactors:
    from sklearn.decomposition import PCA

    fitted = PCA(n_latents, svd_solver="covariance_eigh").fit(profiles)
    loadings = _signs(fitted.components_)[:, None] * fitted.components_
    return LinearFactors(profiles.mean(axis=0), loadings, loadings.T)


def _factor_analysis(profiles: np.ndarray, n_latents: int, seed: int) -> LinearFactors:
    from sklearn.decomposition import FactorAnalysis

    # The likelihood depends on cells through their covariance alone. These 2 x genes rows have
    # mean zero and that covariance, so the fit is the same at the cost of genes, not of cells.
    mean = profiles.mean(axis=0)
    values, vectors = _covariance_eigen(profiles - mean)
    root = np.sqrt(len(values) * values)[:, None] * vectors.T
    rows = np.vstack([root, -root])
    fitted = FactorAnalysis(
        n_latents, tol=1e-6 * len(rows), max_iter=2000, iterated_power=7, random_state=seed
    ).fit(rows)
    varies = profiles.var(axis=0) > 0
    # a gene that was constant says nothing of a new cell, where it may not be
    loadings = _signs(fitted.components_)[:, None] * fitted.components_ * varies
    weighted = loadings / fitted.noise_variance_
    precision = np.eye(n_latents) + weighted @ loadings.T
    projection = np.linalg.solve(precision, weighted).T
    return LinearFactors(mean, loadings, projection, fitted.noise_variance_)


def _fast_ica(profiles: np.ndarray, n_latents: int, seed: int) -> LinearFactors:
    from sklearn.decomposition import FastICA

    fitted = FastICA(
        n_latents,
        whiten="unit-variance",
        whiten_solver="eigh",
        max_iter=1000,
        tol=1e-4,
        random_state=seed,
    ).fit(profiles)
    signs = _signs(fitted.mixing_.T)[:, None]
    return LinearFactors(
        profiles.mean(axis=0), signs * fitted.mixing_.T, (signs * fitted.components_).T
    )


def _nmf(profiles: np.ndarray, n_latents: int, seed: int) -> LinearFactors:
    from sklearn.decomposition import NMF

    fitted = NMF(n_latents, init="nndsvda", solver="cd", max_iter=500, random_state=seed)
    return LinearFactors(np.zeros(profiles.shape[1]), fitted.fit(profiles).components_)


METHODS: dict[str, Callable[[np.ndarray, int, int], LinearFactors]] = {
    "pca": _pca,
    "factor_analysis": _factor_analysis,
    "fast_ica": _fast_ica,
    "nmf": _nmf,
}
