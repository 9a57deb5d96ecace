"""How many cells a perturbation has, and how much was counted in them."""

import numpy as np
import pandas as pd
from anndata import AnnData

from sparseshift.screens.check_counts import find_layer_faults
from sparseshift.screens.check_labels import find_label_faults
from sparseshift.screens.columns import Columns, canonical
from sparseshift.screens.counts import blocks
from sparseshift.screens.faults import raise_faults


def perturbation_quality(adata: AnnData, columns: Columns) -> pd.DataFrame:
    """Cells of each label, and counts and measured genes of a cell, over the genes of the screen.

    Args:
        adata: The screen, in memory or on disk, read in blocks.
        columns: Its columns.

    Returns:
        A row a label, the control first, the others by name. perturbation; is_control; cells;
        counts_q10, counts_median, counts_q90, quantiles of the counts (UMIs) of its cells;
        genes_median, of the genes with a count in a cell.

    Raises:
        ScreenError: If a column, the layer or the control is not there.
    """
    raise_faults([*find_label_faults(adata, columns), *find_layer_faults(adata, columns.layer)])
    labels = canonical(adata.obs[columns.perturbation], columns.control).to_numpy()
    counts, genes = cell_totals(adata, columns.layer)
    by_label = pd.DataFrame({"counts": counts, "genes": genes}).groupby(labels)
    quantiles = by_label["counts"].quantile(np.array([0.1, 0.5, 0.9])).unstack()
    table = pd.DataFrame(
        {
            "is_control": quantiles.index == columns.control,
            "cells": by_label.size(),
            "counts_q10": quantiles[0.1],
            "counts_median": quantiles[0.5],
            "counts_q90": quantiles[0.9],
            "genes_median": by_label["genes"].median(),
        }
    )
    table = table.sort_values("is_control", ascending=False, kind="stable")
    return table.rename_axis("perturbation").reset_index()


def cell_totals(adata: AnnData, layer: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Counts of each cell, and how many genes have one, both (cells,); one pass in blocks."""
    counts = np.zeros(adata.n_obs)
    genes = np.zeros(adata.n_obs, dtype=np.int64)
    for block in blocks(adata, layer):
        counts += np.bincount(block.cells, block.values, minlength=adata.n_obs)
        genes += np.bincount(block.cells, minlength=adata.n_obs)
    return counts, genes
