"""Whether a file can be run, before anything is: what it is, its faults, what filters leave, what it costs."""

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from sparseshift.errors import ScreenError
from sparseshift.screens.check import find_faults
from sparseshift.screens.check_counts import find_count_faults
from sparseshift.screens.conventions.recognise import Proposal, recognise
from sparseshift.screens.doctor.contents import Contents, look
from sparseshift.screens.doctor.counts_sample import Sample, read_sample
from sparseshift.screens.doctor.estimates import BASE, Estimates, Fit, Size, estimate, is_too_large
from sparseshift.screens.doctor.facts import Facts
from sparseshift.screens.doctor.filter_effect import Effect, estimated_effect, exact_effect
from sparseshift.screens.doctor.notes import notes
from sparseshift.screens.doctor.settings import Annotation, Settings, annotation, propose
from sparseshift.screens.faults import Fault, some

ONLY_NAMES = {"obs_names", "var_names"}  # faults that do not keep filters from being tried
LISTED = re.compile(
    r"^\d+\. (?P<where>.+?): (?P<found>.+)\n(?:   seen: (?P<example>.+)\n)?   cure: (?P<cure>.+)$",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Diagnosis:
    """What the doctor found.

    Attributes:
        contents: What is in the file.
        proposals: Ways to read it, the best first.
        settings: How it was examined; None where nothing in it looks like labels.
        is_declared: Whether a person's configuration says so, rather than a proposal.
        faults: Each with its cure.
        notes: What is no fault, but good to know.
        facts: What the screen is; None where faults hide it.
        steps: What cut and filters leave, as `filters.filter_screen` has it; None with faults.
        n_sampled: Cells that counts were read of; None: all.
        estimates: Memory and time; None with faults.
    """

    contents: Contents
    proposals: Sequence[Proposal]
    settings: Settings | None
    is_declared: bool
    faults: Sequence[Fault] = ()
    notes: Sequence[str] = ()
    facts: Facts | None = None
    steps: pd.DataFrame | None = None
    n_sampled: int | None = None
    estimates: Estimates | None = None


def examine(path: Path, declared: Settings | None = None, fits: Sequence[Fit] = BASE) -> Diagnosis:
    """Looks at a file as a run would use it; nothing is written.

    Of a matrix of more than 2 GB only some cells are read.

    Args:
        path: An h5ad file or zarr store.
        declared: What a person's configuration says; None: the best proposal.
        fits: What is going to be fitted, for the time it takes.

    Raises:
        ScreenError: There is no such file, it is hostile, or it is not AnnData.
    """
    contents = look(path)
    proposals = recognise(contents.obs, contents.var)
    settings = declared
    if declared is None and proposals:
        settings = propose(contents, proposals[0], too_large=is_too_large(contents))
    found = Diagnosis(contents, proposals, settings, is_declared=declared is not None)
    if settings is None:
        return replace(found, faults=[_no_labels(contents)])
    try:
        given = annotation(contents, settings)
    except ScreenError as error:
        return replace(found, faults=_faults_of(error))
    with warnings.catch_warnings():  # anndata's, of names that are not unique: a fault below
        warnings.simplefilter("ignore")
        return _examined(found, settings, given, fits)


def _examined(
    found: Diagnosis, settings: Settings, given: Annotation, fits: Sequence[Fit]
) -> Diagnosis:
    contents, columns = found.contents, settings.columns
    faults = _annotation_faults(contents, given, settings)
    if unreadable := _no_matrix(contents, settings):
        return replace(found, faults=[*faults, unreadable])
    sample = read_sample(contents.path, columns.layer, given.cells, given.genes)
    screen = _screen(given, sample, settings)
    faults += _count_faults(screen, settings, contents)
    found = replace(found, faults=faults, n_sampled=None if sample.is_whole else screen.n_obs)
    if not {fault.where for fault in faults} <= ONLY_NAMES:
        return found
    facts = Facts.of(given, columns)
    found = replace(found, facts=facts, notes=notes(contents, given, settings, sample, facts))
    try:
        effect = _effect(given, settings, screen, sample)
    except ScreenError as error:
        return replace(found, faults=[*faults, *_faults_of(error)])
    size = Size.of(effect.counts, settings.n_top, n_cells=effect.n_cells, n_genes=effect.n_genes)
    density = sample.counts.nnz / max(1, screen.n_obs * screen.n_vars)
    n_read = round(density * len(given.cells) * len(given.genes))
    steps = effect.steps if given.steps is None else pd.concat([given.steps, effect.steps])
    return replace(found, steps=steps, estimates=estimate(contents, settings, size, fits, n_read))


def _screen(given: Annotation, sample: Sample, settings: Settings) -> AnnData:
    """The cells and genes that were read, their counts where the file has them."""
    layer = settings.columns.layer
    cells, genes = (
        np.searchsorted(all_, read)
        for all_, read in ((given.cells, sample.cells), (given.genes, sample.genes))
    )
    return AnnData(
        X=sample.counts if layer is None else None,
        obs=given.obs.iloc[cells],
        var=given.var.iloc[genes],
        layers={} if layer is None else {layer: sample.counts},
    )


def _annotation_faults(contents: Contents, given: Annotation, settings: Settings) -> list[Fault]:
    """All but those of counts, of all cells: as if there were none."""
    shape = (len(given.obs), len(given.var))
    empty = AnnData(sparse.csr_matrix(shape, dtype=np.float32), obs=given.obs, var=given.var)
    faults = find_faults(
        empty,
        replace(settings.columns, layer=None),
        held_out=settings.held_out,
        expected=settings.expected,
        empty_cells_allowed=True,
    )
    return [
        replace(
            fault,
            cure=f"Write the file anew: {_rewrite(contents, f'a.{fault.where}_make_unique()')}",
        )
        if fault.where in ONLY_NAMES
        else fault
        for fault in faults
    ]


def _count_faults(screen: AnnData, settings: Settings, contents: Contents) -> list[Fault]:
    """With where the counts are, if they are elsewhere in the file."""
    layer = settings.columns.layer
    allowed = settings.filters.min_counts_per_cell > 0 or screen.n_vars < len(contents.var)
    faults = find_count_faults(screen, layer, empty_cells_allowed=allowed)
    elsewhere = _elsewhere(contents, settings)
    return [
        replace(fault, cure=elsewhere) if elsewhere and "values" in fault.found else fault
        for fault in faults
    ]


def _elsewhere(contents: Contents, settings: Settings) -> str:
    """What to do if another matrix of the file holds counts."""
    counts = contents.counts
    if counts is None or counts is contents.matrix(settings.columns.layer):
        return ""
    need = f"Models of counts need raw counts; {counts.where} holds whole numbers"
    if counts.where == "raw.X":
        return f"{need}. Write them to a file of their own: {_rewrite(contents, 'a = a.raw.to_adata()')}"
    return f"{need}: set columns.layer: {'null' if counts.layer is None else counts.layer}."


def _rewrite(contents: Contents, statement: str) -> str:
    """A command that writes the file anew, changed."""
    kind = "zarr" if contents.path.is_dir() else "h5ad"
    new = contents.path.with_name(f"{contents.path.stem}_new.{kind}")
    return (
        f"python -c \"import anndata as ad; a = ad.read_{kind}('{contents.path}'); {statement}; "
        f"a.write_{kind}('{new}')\""
    )


def _no_matrix(contents: Contents, settings: Settings) -> Fault | None:
    layer = settings.columns.layer
    matrix = contents.matrix(layer)
    there = some((m.where for m in contents.matrices), 30)
    if matrix is None:
        where = "X" if layer is None else f"layers[{layer!r}]"
        cure = _elsewhere(contents, settings) or "Name the layer with the counts in columns.layer."
        return Fault(where, "there is no such matrix", f"there are {there}" if there else "", cure)
    if np.dtype(matrix.dtype).kind not in "buif":
        return Fault(
            matrix.where,
            f"its values are not real numbers (dtype {matrix.dtype})",
            "",
            "Store the counts as integers or floats.",
        )
    return None


def _no_labels(contents: Contents) -> Fault:
    names = [str(column) for column in contents.obs.columns]
    return Fault(
        "obs",
        "no column looks like labels of perturbations: none holds a usual name of a control or of "
        "measured genes",
        f"columns {some(names, 30)}" if names else "it has no columns",
        "Add a column that says what was done to each cell (a gene, A+B, or the control's name), or "
        "name it: kedro new-screen NAME --file FILE --perturbation COLUMN --control LABEL.",
    )


def _effect(given: Annotation, settings: Settings, screen: AnnData, sample: Sample) -> Effect:
    if sample.is_whole:
        return exact_effect(screen, settings.columns, settings.filters)
    return estimated_effect(given.obs, len(given.var), sample, settings.columns, settings.filters)


def _faults_of(error: ScreenError) -> list[Fault]:
    """Those that an error lists (`faults.raise_faults`); else the error as one."""
    listed = [Fault(**found.groupdict(default="")) for found in LISTED.finditer(str(error))]
    return listed or [Fault("file", str(error), "", "Correct that first.")]
