"""A screen in which nothing is to be found, but for one effect that was put there."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from sparseshift.errors import ScreenError
from sparseshift.screens.cells import read_labels, read_perturbations
from sparseshift.screens.columns import Columns
from sparseshift.screens.counts import read_counts

IMPLANTED = "implanted"


@dataclass(frozen=True)
class Implant:
    """The effect that is put into a null screen.

    Attributes:
        share: of all counts, those of the genes that are changed.
        kept: of their counts, each with this chance: a knock-down to a quarter is -2 in log2.
        max_cells: with the effect; fewer where perturbations, or half of the control, have fewer.
    """

    share: float = 0.2
    kept: float = 0.25
    max_cells: int = 500


def null_screen(
    adata: AnnData, columns: Columns, *, seed: int, implant: Implant | None = None
) -> AnnData:
    """The screen with its labels exchanged between the cells of a batch, the control's too.

    Depth, batches and sizes of perturbations stay, so that a graph of such a screen is what a model
    finds where there is nothing. An empty one says little: the model may find nothing anywhere. So some
    cells get the label `implanted`, and of some genes only a part of their counts: a model that can find
    effects of this size finds this one.

    Args:
        adata: The screen; left as it is.
        columns: Its columns.
        seed: Of all draws.
        implant: The effect; None: the default one.

    Returns:
        A screen with counts in X (and in the layer, where one is named), the same cells and genes.

    Raises:
        ScreenError: A perturbation is called `implanted`.
    """
    implant = implant or Implant()
    labels = read_perturbations(adata, columns).astype(object)
    if (labels == IMPLANTED).any():
        raise ScreenError(
            f"A perturbation is called {IMPLANTED!r}, which is the name of the effect that is put into a "
            "permuted screen. Rename it."
        )
    rng = np.random.default_rng(seed)
    batch = np.zeros(adata.n_obs, dtype=int)
    if columns.batch is not None:
        batch = pd.factorize(read_labels(adata, columns.batch))[0]
    for code in np.unique(batch):
        members = np.flatnonzero(batch == code)
        labels[members] = rng.permutation(labels[members])
    counts = read_counts(adata, columns.layer)
    cells = _implanted_cells(labels, columns.control, implant, rng)
    labels[cells] = IMPLANTED
    counts = _thinned(counts, cells, implant, rng)
    null = AnnData(counts, obs=adata.obs.copy(), var=adata.var.copy())
    null.obs[columns.perturbation] = labels.astype(str)
    if columns.layer is not None:
        null.layers[columns.layer] = counts
    return null


def _implanted_cells(
    labels: np.ndarray, control: str | None, implant: Implant, rng: np.random.Generator
) -> np.ndarray:
    """Of the control where there is one, so that no perturbation loses cells."""
    names, sizes = np.unique(labels.astype(str), return_counts=True)
    usual = int(np.median(sizes[names != control]))
    there = np.flatnonzero(labels == control) if control in names else np.arange(len(labels))
    n_cells = max(1, min(usual, implant.max_cells, len(there) // 2))
    return np.sort(rng.choice(there, n_cells, replace=False))


def _thinned(
    counts: sparse.csr_matrix, cells: np.ndarray, implant: Implant, rng: np.random.Generator
) -> sparse.csr_matrix:
    total = np.asarray(counts.sum(axis=0)).ravel()
    order = rng.permutation(len(total))
    held = np.cumsum(total[order])
    chosen = np.zeros(len(total), dtype=bool)
    chosen[order[: 1 + int(np.searchsorted(held, implant.share * held[-1]))]] = True
    changed = np.repeat(np.isin(np.arange(counts.shape[0]), cells), np.diff(counts.indptr))
    changed &= chosen[counts.indices]
    counts = counts.copy()
    counts.data[changed] = rng.binomial(counts.data[changed].astype(np.int64), implant.kept)
    counts.eliminate_zeros()
    return counts
