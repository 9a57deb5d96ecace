"""What filters would leave of a screen: exactly, or estimated from a sample of its cells."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from sparseshift.screens.columns import Columns, canonical
from sparseshift.screens.doctor.counts_sample import Sample
from sparseshift.screens.filters import Filters, filter_screen


@dataclass(frozen=True)
class Effect:
    """What filters leave.

    Attributes:
        steps: As `filters.filter_screen` has them.
        n_cells: Left.
        n_genes: Left.
        counts: Of what is left, as far as it was read.
    """

    steps: pd.DataFrame
    n_cells: int
    n_genes: int
    counts: sparse.csr_matrix


def exact_effect(screen: AnnData, columns: Columns, filters: Filters) -> Effect:
    """By filtering the screen.

    Raises:
        ScreenError: Nothing remains; with the filter that did it and a value that keeps something.
    """
    left, steps = filter_screen(screen, columns, filters)
    return Effect(steps, left.n_obs, left.n_vars, left.X)


def estimated_effect(
    obs: pd.DataFrame, n_genes: int, sample: Sample, columns: Columns, filters: Filters
) -> Effect:
    """From all labels and the counts of some cells, or of some genes.

    Args:
        obs: Of all cells.
        n_genes: All genes.
        sample: Counts that were read.
        columns: Of the screen.
        filters: The limits.
    """
    labels = canonical(obs[columns.perturbation], columns.control)
    rows = [_row("as given", len(obs), n_genes, labels, columns, "")]
    by_cell = sample.counts.shape[1] == n_genes
    kept = (
        _kept(sample.counts, filters) if by_cell else np.ones(sample.counts.shape[0], dtype=bool)
    )
    share = float(kept.mean()) if len(kept) else 0.0
    cells = round(share * len(obs))
    dropped = f"{100 * (1 - share):.1f} % of the sample dropped" if by_cell else "not estimated"
    rows.append(_row("cells, about", cells, n_genes, labels, columns, dropped))
    sizes = labels.value_counts() * share
    few = sizes.index[
        (sizes < filters.min_cells_per_perturbation) & (sizes.index != columns.control)
    ]
    labels = labels[~labels.isin(few)]
    cells = round(share * len(labels))
    note = f"{len(few)} by min_cells_per_perturbation={filters.min_cells_per_perturbation}"
    rows.append(
        _row("perturbations, about", cells, n_genes, labels, columns, note if len(few) else "")
    )
    left = sample.counts[kept]
    n_filled = left.getnnz(axis=0) * cells / max(1, left.shape[0])
    enough = n_filled >= filters.min_cells_per_gene
    genes = int(enough.sum()) if by_cell else round(float(enough.mean()) * n_genes)
    words = "those with enough counts in the sample" if by_cell else "as among the genes read"
    rows.append(_row("genes, at least", cells, genes, labels, columns, words))
    return Effect(pd.DataFrame(rows), cells, genes, left[:, enough])


def _kept(counts: sparse.csr_matrix, filters: Filters) -> np.ndarray:
    totals = np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel()
    kept = (totals >= filters.min_counts_per_cell) & (
        np.diff(counts.indptr) >= filters.min_genes_per_cell
    )
    if filters.max_counts_per_cell is not None:
        kept &= totals <= filters.max_counts_per_cell
    return kept


def _row(
    step: str, cells: int, genes: int, labels: pd.Series, columns: Columns, note: str
) -> dict[str, object]:
    n_left = len(set(labels.unique()) - {columns.control, ""})
    return {"step": step, "cells": cells, "genes": genes, "perturbations": n_left, "note": note}
