"""Which genes a model sees, chosen on the training cells alone."""

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from sparseshift.errors import OptionError
from sparseshift.screens.columns import Columns, canonical, gene_symbols, targets
from sparseshift.screens.counts import read_counts


def choose_genes(
    adata: AnnData,
    columns: Columns,
    training_cells: np.ndarray,
    *,
    n_top: int | None,
    protect_targets: bool,
) -> pd.DataFrame:
    """Choose the most variable genes, by the variance of their Pearson residuals.

    The residuals (Lause, Berens and Kobak 2021; `scanpy.experimental.pp.highly_variable_genes`) are
    taken on raw counts, with a null model of depth times mean and overdispersion 1/100. Screens here have
    as few as 60 counts a cell, where flavours on normalised logarithms mostly rank noise: on the
    bundled screens the best quarter of the genes, chosen on two halves of the cells, agrees
    for 79, 66, 93 and 100 % (Norman, Datlinger, Papalexi, Schraivogel) by this one, for 62, 30, 73
    and 89 % by `seurat`, for 50, 32, 77 and 94 % by `cell_ranger`; `seurat_v3` needs another package.
    Batches are not told apart, for some have too few cells to rank genes in: a gene that differs
    between batches only may be chosen.

    Counts of cells outside `training_cells` are never read. Their labels are, for the targets: what
    the screen perturbs is known before a cell is sequenced.

    Args:
        adata: The screen, with counts that `check_screen` accepts; left as it is.
        columns: Its columns.
        training_cells: Mask (cells,), or indices of cells.
        n_top: How many variable genes; None, or more than there are, for all with a count.
        protect_targets: Whether the targets of perturbations are chosen besides these, so that more
            than `n_top` may be; only those with a count in a training cell.

    Returns:
        A table by gene, in the order of the screen: `chosen`, and the `reason`, one of 'variable',
        'target', 'all', 'not variable', 'no count in training cells'.
    """
    if n_top is not None and n_top < 1:
        raise OptionError(f"n_top is {n_top}: it must be 1 or more, or None for all genes.")
    counts = read_counts(adata, columns.layer, _indices(training_cells, adata.n_obs))
    counted = counts.getnnz(axis=0) > 0
    reason = pd.Series("no count in training cells", index=adata.var_names, dtype=object)
    if n_top is None or n_top >= counted.sum():
        reason[counted] = "all"
    else:
        reason[counted] = "not variable"
        if protect_targets:
            labels = canonical(adata.obs[columns.perturbation], columns.control)
            aimed_at = gene_symbols(adata.var, columns).isin(targets(labels, columns.control))
            reason[counted & aimed_at] = "target"
        places = np.flatnonzero(counted)
        variance = _residual_variance(counts[:, places])
        # Stable, so that genes of equal variance are taken in the screen's order.
        reason.iloc[places[np.argsort(-variance, kind="stable")[:n_top]]] = "variable"
    chosen = reason.isin(["variable", "target", "all"])
    return pd.DataFrame({"chosen": chosen, "reason": reason})


def _indices(training_cells: np.ndarray, n_cells: int) -> np.ndarray:
    """Sorted and each once, so that a mask and indices in any order choose the same genes."""
    given = np.asarray(training_cells)
    if given.dtype == bool:
        if given.shape != (n_cells,):
            raise OptionError(
                f"training_cells is a mask of shape {given.shape}: the screen has {n_cells} cells."
            )
        given = np.flatnonzero(given)
    if given.size == 0:
        raise OptionError("training_cells is empty: there are no cells to choose genes on.")
    if given.dtype.kind not in "iu" or given.min() < 0 or given.max() >= n_cells:
        raise OptionError(f"training_cells must be a mask or indices from 0 to {n_cells - 1}.")
    return np.unique(given)


def _residual_variance(counts: sparse.csr_matrix) -> np.ndarray:
    """Variance of the clipped Pearson residuals of each gene, (genes,)."""
    import scanpy

    filled = np.diff(counts.indptr) > 0  # the residual of an empty cell is 0 / 0
    found = scanpy.experimental.pp.highly_variable_genes(
        AnnData(counts[filled].astype(np.float64)),
        n_top_genes=min(1, counts.shape[1]),
        inplace=False,
        check_values=False,
    )
    return found["residual_variances"].to_numpy()
