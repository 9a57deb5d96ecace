"""What is no fault of a screen, but good to know before a run."""

import numpy as np
from anndata import AnnData

from sparseshift.screens.conventions.batch_column import find_covariates
from sparseshift.screens.conventions.gene_names import find_symbols
from sparseshift.screens.doctor.contents import Contents
from sparseshift.screens.doctor.counts_sample import Sample
from sparseshift.screens.doctor.facts import Facts
from sparseshift.screens.doctor.settings import Annotation, Settings
from sparseshift.screens.faults import some
from sparseshift.screens.quality.batch_balance import batch_balance
from sparseshift.screens.quality.batch_warnings import batch_warnings

FEW_CONTROLS = 100


def notes(
    contents: Contents, given: Annotation, settings: Settings, sample: Sample, facts: Facts
) -> list[str]:
    """Sentences, the most important first."""
    columns = settings.columns
    return [
        *_matrices(contents, settings),
        *_control(settings, facts),
        *_symbols(given, settings, facts),
        *_empty_cells(given, settings, sample),
        *batch_warnings(batch_balance(AnnData(obs=given.obs, var=given.var), columns)),
        *find_covariates(given.obs, {columns.perturbation, columns.batch, *_dropped(settings)}),
    ]


def _dropped(settings: Settings) -> list[str]:
    return list(settings.cut.drop) if settings.cut is not None else []


def _matrices(contents: Contents, settings: Settings) -> list[str]:
    """Which one is used, where that is not plain."""
    used = contents.matrix(settings.columns.layer)
    if used is None:
        return []
    others = [matrix for matrix in contents.matrices if matrix is not used]
    notes = []
    if used.layer is not None and others and not others[0].holds_counts:
        notes.append(f"{used.where} is used, for {others[0].where} holds no counts.")
    if also := [matrix.where for matrix in others if matrix.holds_counts]:
        notes.append(f"{used.where} is used; {', '.join(also)} may be counts too.")
    return notes


def _control(settings: Settings, facts: Facts) -> list[str]:
    if settings.columns.control is None:
        return [
            "There is no control: held-out perturbations cannot be compared with unperturbed cells. Set "
            "columns.control if there is one."
        ]
    if facts.n_control_cells >= FEW_CONTROLS:
        return []
    return [
        f"The control has {facts.n_control_cells} cells only. Every effect is measured against them, and "
        "is no surer than they are."
    ]


def _symbols(given: Annotation, settings: Settings, facts: Facts) -> list[str]:
    names = find_symbols(given.var)
    if settings.columns.symbol is None and names.column is not None:
        return [
            f"The names of var are identifiers ({given.var.index[0]}): set columns.symbol: {names.column}, "
            "so that perturbed genes are found among them and figures show symbols."
        ]
    if settings.columns.symbol is None and not names.symbols:
        return [
            f"The names of var are identifiers ({given.var.index[0]}) and no column of var has symbols: "
            "perturbed genes are not found among them. Add a column with symbols to adata.var, and name "
            "it in columns.symbol."
        ]
    if facts.n_measured == 0 and facts.n_targets:
        return [
            "No perturbed gene is among the measured ones: whether perturbations worked cannot be seen."
        ]
    return []


def _empty_cells(given: Annotation, settings: Settings, sample: Sample) -> list[str]:
    if sample.counts.shape[1] < len(given.var):  # some genes only were read
        return []
    empty = np.diff(sample.counts.indptr) == 0
    least = settings.filters.min_counts_per_cell
    if not empty.any() or least == 0:
        return []
    first = some(given.obs.index[np.searchsorted(given.cells, sample.cells[empty][:3])])
    cells = "cells" if sample.is_whole else "cells of the sample"
    return [
        f"{empty.sum()} of {len(empty):,} {cells} have no counts (cells {first}): the filter "
        f"min_counts_per_cell={least} drops them."
    ]
