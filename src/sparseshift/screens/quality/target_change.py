"""Whether a perturbation did what it was meant to: how much its target is expressed, against control cells."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from sparseshift.data.parts import LEAST_GENES
from sparseshift.screens.check_counts import find_layer_faults
from sparseshift.screens.check_labels import find_label_faults
from sparseshift.screens.columns import Columns, canonical, gene_symbols, targets
from sparseshift.screens.counts import MAX_ELEMENTS, count_parts
from sparseshift.screens.faults import raise_faults
from sparseshift.screens.quality.perturbation_quality import cell_totals

SCALE = 10_000.0  # counts that every cell is scaled to
_HALF_WIDTH = 1.96  # of a 95 % interval, in standard errors

COLUMNS = (
    "perturbation",
    "target",
    "target_cells",
    "target_mean",
    "control_mean",
    "target_change",
    "lower",
    "upper",
)


def target_change(adata: AnnData, columns: Columns) -> pd.DataFrame:
    """Expression of each perturbation's own target in its cells, in control cells, and the ratio.

    Expression is the mean over cells of counts per 10,000 counts; cells without a count are left
    out. The change is log2((target_mean + c) / (control_mean + c)). The pseudo-count c is half a
    count over all cells of the label, or of the control if that is more. One count raises a mean by
    u = 10,000 / (cells x harmonic mean of the counts of a cell), and c is half of the larger u. So a
    change is finite where no cell has a count of the target, and equal means have a change of 0.

    The interval (95 %) takes the cells as independent and the logarithm as linear (delta method).
    The variance of a mean is s^2 / cells + u c, with s^2 the variance between cells. For Poisson
    counts, where s^2 / cells is u times the mean, that of the logarithm becomes 1 / (counts + 1/2), as
    usual where half a count is added (Gart and Zweifel 1967). What guides or batches differ by is not
    in it.

    A knock-down lowers its target and an activation raises it; a nuclease may leave the mRNA.

    Args:
        adata: The screen, in memory or on disk; it is read in blocks.
        columns: Its columns. Targets are looked for among the gene symbols; the counts of several
            genes of one symbol are added up.

    Returns:
        A row for each label and measured target, by name; a combination has a row for each of its
        targets, a label without a measured target none. perturbation; target; target_cells, cells of
        the label with a count of the target; target_mean and control_mean, counts per 10,000;
        target_change, lower, upper, log2. What needs a control is NaN where there is none.

    Raises:
        ScreenError: If a column, the layer or the control is not there.
    """
    raise_faults([*find_label_faults(adata, columns), *find_layer_faults(adata, columns.layer)])
    labels = canonical(adata.obs[columns.perturbation], columns.control).to_numpy(dtype=str)
    cells = _Cells(*np.unique(labels, return_inverse=True), cell_totals(adata, columns.layer)[0])
    genes = _target_genes(adata, columns, cells.names)
    if not genes:
        return pd.DataFrame({column: [] for column in COLUMNS})
    pairs = _pairs(cells.names, list(genes), columns.control)
    control = np.flatnonzero(cells.names == columns.control)
    asked = sparse.lil_matrix((len(cells.names), len(genes)), dtype=bool)
    asked[pairs] = True
    asked[control] = True
    sums = _power_sums(adata, columns.layer, cells, list(genes.values()), asked.tocsr())
    own = _expression(sums, cells, *pairs)
    other = own._replace(mean=np.nan * own.mean)
    if len(control):
        other = _expression(sums, cells, np.full_like(pairs[0], control[0]), pairs[1])
    pseudo = np.maximum(own.unit, other.unit) / 2
    change = np.log2((own.mean + pseudo) / (other.mean + pseudo))
    half = _HALF_WIDTH * np.hypot(own.log2_error(pseudo), other.log2_error(pseudo))
    return pd.DataFrame(
        {
            "perturbation": cells.names[pairs[0]].astype(object),
            "target": np.array(list(genes), dtype=object)[pairs[1]],
            "target_cells": own.cells.astype(np.int64),
            "target_mean": own.mean,
            "control_mean": other.mean,
            "target_change": change,
            "lower": change - half,
            "upper": change + half,
        }
    )


class _Cells(NamedTuple):
    """Which label each cell has, and how many counts."""

    names: np.ndarray  # (labels,)
    number: np.ndarray  # (cells,), place of the cell's label among the names
    totals: np.ndarray  # (cells,), counts


class _Expression(NamedTuple):
    """Counts per 10,000 of some genes in the cells of some labels, each (pairs,)."""

    cells: np.ndarray  # with a count of the gene
    mean: np.ndarray
    variance: np.ndarray  # of the mean, as cells differ
    unit: np.ndarray  # by which one count raises the mean

    def log2_error(self, pseudo: np.ndarray) -> np.ndarray:
        """Standard error of log2(mean + pseudo)."""
        return np.sqrt(self.variance + self.unit * pseudo) / (self.mean + pseudo) / np.log(2)


def _target_genes(adata: AnnData, columns: Columns, names: np.ndarray) -> dict[str, np.ndarray]:
    """Positions of the genes of each measured target, by symbol; a symbol may have several."""
    symbols = gene_symbols(adata.var, columns)
    wanted = pd.Series(np.arange(len(symbols)))[symbols.isin(targets(names, columns.control))]
    by_symbol = wanted.groupby(symbols[wanted.to_numpy()])
    return {str(symbol): positions.to_numpy() for symbol, positions in by_symbol}


def _pairs(
    names: np.ndarray, genes: Sequence[str], control: str | None
) -> tuple[np.ndarray, np.ndarray]:
    """Places of labels, and of their targets among the genes, each (pairs,)."""
    place = {gene: j for j, gene in enumerate(genes)}
    pairs = [
        (i, j)
        for i, name in enumerate(names.tolist())
        for j in sorted(place[gene] for gene in targets([name], control) if gene in place)
    ]
    label, target = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return label, target


def _power_sums(
    adata: AnnData,
    layer: str | None,
    cells: _Cells,
    genes: Sequence[np.ndarray],
    asked: sparse.csr_matrix,
) -> list[sparse.csr_matrix]:
    """Over a label's cells: how many have a count of a gene, and the sums of counts per 10,000 and squares.

    Each (labels, genes), with nothing but what is asked for: memory is that of the answer.
    """
    sums = [sparse.csr_matrix(asked.shape) for _ in range(3)]
    for first_cell, first_gene, counts in _blocks(adata, layer, genes):
        if counts.nnz == 0:
            continue
        entries = counts.tocoo()
        cell, gene = entries.row + first_cell, entries.col + first_gene
        place = cells.number[cell], gene
        kept = np.asarray(asked[place]).ravel()
        value = (SCALE * entries.data / cells.totals[cell])[kept]
        place = place[0][kept], place[1][kept]
        for power in range(3):
            # entries of one place are added up
            sums[power] += sparse.csr_matrix((value**power, place), shape=asked.shape)
    return sums


def _blocks(
    adata: AnnData, layer: str | None, genes: Sequence[np.ndarray]
) -> Iterator[tuple[int, int, sparse.csr_matrix]]:
    """First cell, first gene and counts of bounded blocks, the genes of each symbol added up before."""
    if not genes:
        return
    order, sizes = np.concatenate(genes), [len(own) for own in genes]
    start = np.concatenate([[0], np.cumsum(sizes)])
    adding = sparse.csr_matrix(
        (np.ones(len(order)), (np.arange(len(order)), np.repeat(np.arange(len(genes)), sizes)))
    )
    parts = count_parts(adata, layer, order)
    if parts.by_gene:  # not between two genes of one symbol
        step = max(LEAST_GENES, MAX_ELEMENTS // max(1, adata.n_obs))
        for first in range(0, len(genes), step):
            last = min(first + step, len(genes))
            own = slice(int(start[first]), int(start[last]))
            counts = sparse.csr_matrix(parts.read(slice(None), own))
            yield 0, first, counts @ adding[own, first:last]
    else:  # all genes of a cell are read, whichever are wanted
        step = max(1, MAX_ELEMENTS // adata.n_vars)
        for first in range(0, adata.n_obs, step):
            counts = sparse.csr_matrix(parts.read(slice(first, first + step), slice(None)))
            yield first, 0, counts @ adding


def _expression(
    sums: Sequence[sparse.csr_matrix], cells: _Cells, label: np.ndarray, gene: np.ndarray
) -> _Expression:
    n_labels = len(cells.names)
    filled = cells.totals > 0
    number, inverse = cells.number[filled], 1 / cells.totals[filled]
    n = np.bincount(number, minlength=n_labels)[label]
    unit = SCALE * np.bincount(number, inverse, minlength=n_labels)[label]
    with_count, total, squares = (np.asarray(power[label, gene]).ravel() for power in sums)
    with np.errstate(divide="ignore", invalid="ignore"):  # no cells, or no variance of one
        mean = total / n
        variance = np.clip(squares / n - mean**2, 0, None) / (n - 1)
        return _Expression(with_count, mean, variance, unit / n**2)
