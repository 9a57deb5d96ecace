"""What a screen holds, in a few numbers, for the report and for kedro-viz."""

from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from sparseshift.screens.columns import Columns, canonical, gene_symbols, targets
from sparseshift.screens.counts import blocks


def summarise(adata: AnnData, columns: Columns) -> dict[str, Any]:
    """Sizes, cells per perturbation, counts per cell, targets measured; plain data."""
    labels = canonical(adata.obs[columns.perturbation], columns.control)
    size = labels.value_counts()
    perturbed = size[size.index != columns.control]
    totals = _totals(adata, columns.layer)
    wanted = targets(perturbed.index, columns.control)
    return {
        "cells": int(adata.n_obs),
        "genes": int(adata.n_vars),
        "perturbations": len(perturbed),
        "combinations": int(sum("+" in label for label in perturbed.index)),
        "control": columns.control,
        "control_cells": int(size.get(columns.control, 0)),
        "batches": int(adata.obs[columns.batch].nunique()) if columns.batch else 1,
        "cells_per_perturbation": _quantiles(perturbed.to_numpy()),
        "counts_per_cell": _quantiles(totals),
        "targets_measured": sorted(wanted & set(gene_symbols(adata.var, columns))),
        "columns": {name: str(kind) for name, kind in adata.obs.dtypes.items()},
    }


def _totals(adata: AnnData, layer: str | None) -> np.ndarray:
    totals = np.zeros(adata.n_obs)
    for block in blocks(adata, layer):
        totals += np.bincount(block.cells, block.values, minlength=adata.n_obs)
    return totals


def _quantiles(values: np.ndarray) -> dict[str, float]:
    series = pd.Series(values, dtype=float)
    return {"min": series.min(), "median": series.median(), "max": series.max()}
