"""Which cells, perturbations and genes of a screen to keep; on the whole screen, before it is split.

None of it looks at what a perturbation does, only at how much was counted, so that it leaks nothing
from held-out cells. The choice of variable genes does look: see `genes`.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from sparseshift.errors import OptionError
from sparseshift.screens.check_counts import find_layer_faults
from sparseshift.screens.check_labels import find_label_faults
from sparseshift.screens.columns import Columns, canonical, gene_symbols, targets
from sparseshift.screens.counts import read_counts
from sparseshift.screens.faults import Fault, raise_faults


@dataclass(frozen=True)
class Filters:
    """Limits on what was counted; each bound is kept, one below (or above) it is dropped.

    Attributes:
        min_counts_per_cell: Counts of a cell, over the genes that are left.
        min_genes_per_cell: Genes with a count in a cell, of those left.
        max_counts_per_cell: Counts of a cell, against doublets; None for no limit.
        min_cells_per_perturbation: Cells of a perturbation; the control is never dropped.
        min_cells_per_gene: Cells with a count of a gene. The target of a perturbation needs only one.
    """

    min_counts_per_cell: int = 1
    min_genes_per_cell: int = 0
    max_counts_per_cell: int | None = None
    min_cells_per_perturbation: int = 20
    min_cells_per_gene: int = 10

    def __post_init__(self) -> None:
        for limit in fields(self):
            value = getattr(self, limit.name)
            if value is not None and value < 0:
                raise OptionError(f"{limit.name} is {value}: it must be 0 or more.")
        if (
            self.max_counts_per_cell is not None
            and self.max_counts_per_cell < self.min_counts_per_cell
        ):
            raise OptionError(
                f"max_counts_per_cell is {self.max_counts_per_cell}, below min_counts_per_cell, "
                f"which is {self.min_counts_per_cell}: no cell could be kept."
            )


def filter_screen(
    adata: AnnData, columns: Columns, filters: Filters
) -> tuple[AnnData, pd.DataFrame]:
    """Drop cells, then perturbations with few cells, then genes, until nothing changes.

    Args:
        adata: The screen, which is left as it is.
        columns: Its columns; they hold for the result too.
        filters: The limits.

    Returns:
        A new screen, and a table with a row for each step that did something (and for every step of
        the first round): step, cells, genes, perturbations, dropped, note. The screen has its counts
        as CSR in single precision in `X` (the named layer is the same matrix), canonical labels in
        the perturbation column, and of the rest `obs`, `var`, `obsm` and `uns`.

    Raises:
        ScreenError: If the columns are at fault, or nothing remains: then with the filter that did
            it and a value that keeps something.
    """
    raise_faults([*find_label_faults(adata, columns), *find_layer_faults(adata, columns.layer)])
    left = _Left(
        counts=read_counts(adata, columns.layer),
        labels=canonical(adata.obs[columns.perturbation], columns.control).to_numpy(),
        cells=np.arange(adata.n_obs),
        genes=np.arange(adata.n_vars),
        symbols=gene_symbols(adata.var, columns).to_numpy(dtype=str),
        control=columns.control and columns.control.strip(),
    )
    rows = [left.row("as given")]
    steps = {
        "cells": _filter_cells,
        "perturbations": _filter_perturbations,
        "genes": _filter_genes,
    }
    n_round, changed = 1, True
    while changed:
        changed = False
        for name, step in steps.items():
            before, (left, note) = left, step(left, filters)
            step_changed = left.counts.shape != before.counts.shape
            changed |= step_changed
            if n_round == 1 or step_changed:
                rows.append(left.row(f"{name}, round {n_round}", before, note))
        n_round += 1
    return _screen(adata, columns, left), pd.DataFrame(rows)


@dataclass(frozen=True)
class _Left:
    """What is left of the screen."""

    counts: sparse.csr_matrix  # (cells, genes)
    labels: np.ndarray  # (cells,), canonical
    cells: np.ndarray  # (cells,), rows of the screen as given
    genes: np.ndarray  # (genes,), its columns
    symbols: np.ndarray  # (genes,)
    control: str | None

    @property
    def perturbations(self) -> set[str]:
        return set(self.labels) - {self.control}

    def keep_cells(self, keep: np.ndarray) -> "_Left":
        if keep.all():
            return self
        return replace(
            self, counts=self.counts[keep], labels=self.labels[keep], cells=self.cells[keep]
        )

    def keep_genes(self, keep: np.ndarray) -> "_Left":
        if keep.all():
            return self
        return replace(
            self,
            counts=self.counts[:, keep],
            genes=self.genes[keep],
            symbols=self.symbols[keep],
        )

    def row(self, step: str, before: "_Left | None" = None, note: str = "") -> dict[str, Any]:
        dropped = sorted(before.perturbations - self.perturbations) if before else []
        more = f" and {len(dropped) - 20} more" if len(dropped) > 20 else ""
        return {
            "step": step,
            "cells": len(self.cells),
            "genes": len(self.genes),
            "perturbations": len(self.perturbations),
            "dropped": ", ".join(dropped[:20]) + more,
            "note": note,
        }


def _filter_cells(left: _Left, filters: Filters) -> tuple[_Left, str]:
    n_counts = np.asarray(left.counts.sum(axis=1, dtype=np.float64)).ravel()
    n_genes = np.diff(left.counts.indptr)
    limits = {
        "min_counts_per_cell": (n_counts, n_counts < filters.min_counts_per_cell),
        "min_genes_per_cell": (n_genes, n_genes < filters.min_genes_per_cell),
    }
    if filters.max_counts_per_cell is not None:
        limits["max_counts_per_cell"] = (n_counts, n_counts > filters.max_counts_per_cell)
    broken = np.sum([outside for _, outside in limits.values()], axis=0)
    control = left.labels == left.control
    groups = {"control": control, "perturbed": ~control} if control.any() else {"": ~control}
    for name, group in groups.items():
        if broken[group].all():
            # The cell nearest to being kept shows which limits to move, and how far.
            nearest = np.flatnonzero(group)[np.lexsort((-n_counts[group], broken[group]))[0]]
            blame = {
                key: int(value[nearest])
                for key, (value, outside) in limits.items()
                if outside[nearest]
            }
            raise_faults([_no_cells(name, (int(group.sum()), len(left.genes)), blame, filters)])
    counted = [
        f"{out.sum()} by {key}={getattr(filters, key)}"
        for key, (_, out) in limits.items()
        if out.any()
    ]
    return left.keep_cells(broken == 0), ", ".join(counted)


def _no_cells(
    group: str, shape: tuple[int, int], blame: dict[str, int], filters: Filters
) -> Fault:
    which = " and ".join(f"{key}={getattr(filters, key)}" for key in blame)
    would = " and ".join(f"{key}={value}" for key, value in blame.items())
    cells = f"{group} cells" if group else "cells"
    found = f"no {cells} remain: all {shape[0]} that came to this filter, with the {shape[1]} genes left, are dropped"
    return Fault(f"filter {which}", found, "", f"{would} would keep at least one.")


def _filter_perturbations(left: _Left, filters: Filters) -> tuple[_Left, str]:
    names, numbers, n_cells = np.unique(
        left.labels.astype(str), return_inverse=True, return_counts=True
    )
    few = (n_cells < filters.min_cells_per_perturbation) & (names != left.control)
    if (few | (names == left.control)).all():
        n_cells = np.where(names == left.control, 0, n_cells)
        largest = n_cells.argmax()
        fault = Fault(
            f"filter min_cells_per_perturbation={filters.min_cells_per_perturbation}",
            f"no perturbations remain: all {few.sum()} have fewer cells",
            f"{str(names[largest])!r}, the largest, has {n_cells[largest]}",
            f"min_cells_per_perturbation={n_cells[largest]} would keep it.",
        )
        raise_faults([fault])
    note = f"{few.sum()} by min_cells_per_perturbation={filters.min_cells_per_perturbation}"
    return left.keep_cells(~few[numbers]), note if few.any() else ""


def _filter_genes(left: _Left, filters: Filters) -> tuple[_Left, str]:
    n_cells = left.counts.getnnz(axis=0)
    aimed_at = targets(left.perturbations, left.control)
    is_target = np.isin(left.symbols, list(aimed_at))
    few = n_cells < filters.min_cells_per_gene
    protected = few & is_target & (n_cells > 0)
    drop = few & ~protected
    if drop.all():
        fault = Fault(
            f"filter min_cells_per_gene={filters.min_cells_per_gene}",
            f"no genes remain: all {len(n_cells)} have a count in fewer cells",
            f"{str(left.symbols[n_cells.argmax()])!r} has one in {n_cells.max()}, the most",
            f"min_cells_per_gene={n_cells.max()} would keep it.",
        )
        raise_faults([fault])
    notes = [
        f"{is_target.sum()} of {len(aimed_at)} targets are measured genes",
        f"{drop.sum()} by min_cells_per_gene={filters.min_cells_per_gene}" if drop.any() else "",
        f"{protected.sum()} kept as targets" if protected.any() else "",
    ]
    return left.keep_genes(~drop), ", ".join(filter(None, notes))


def _screen(adata: AnnData, columns: Columns, left: _Left) -> AnnData:
    obs, var = adata.obs.iloc[left.cells].copy(), adata.var.iloc[left.genes].copy()
    for frame in (obs, var):
        for name in frame.select_dtypes("category"):
            frame[name] = frame[name].cat.remove_unused_categories()
    obs[columns.perturbation] = left.labels
    take: Callable[[Any], Any] = lambda x: (
        x.iloc[left.cells] if hasattr(x, "iloc") else x[left.cells]
    )
    return AnnData(
        X=left.counts,
        obs=obs,
        var=var,
        obsm={key: take(adata.obsm[key]) for key in adata.obsm},
        uns=deepcopy(dict(adata.uns)),
        layers={} if columns.layer is None else {columns.layer: left.counts},
    )
