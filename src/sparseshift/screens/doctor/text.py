"""A diagnosis as plain text, for a terminal."""

from collections.abc import Iterable

import pandas as pd

from sparseshift.errors import ScreenError
from sparseshift.screens.conventions.recognise import Proposal
from sparseshift.screens.doctor.contents import Contents
from sparseshift.screens.doctor.estimates import PROCESS_BYTES, Estimates
from sparseshift.screens.doctor.examine import Diagnosis
from sparseshift.screens.doctor.facts import Facts
from sparseshift.screens.doctor.settings import Settings, propose
from sparseshift.screens.faults import Fault, some
from sparseshift.screens.new_screen import configuration

MOST_PROPOSALS = 3
UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def diagnosis_text(found: Diagnosis, name: str, *, written: Iterable[str] = ()) -> str:
    """All of it.

    Args:
        found: By `doctor.examine`.
        name: Of the screen, for its conf/.
        written: Files that the configuration was written to.
    """
    sections = [
        _file(found.contents),
        _recognised(found),
        "" if found.facts is None else _facts(found.facts),
        _faults(found.faults),
        _listed("To know", found.notes),
        _steps(found),
        "" if found.estimates is None else _estimates(found.estimates),
        _configuration(found, name, list(written)),
    ]
    return "\n\n".join(section for section in sections if section)


def _file(contents: Contents) -> str:
    n_cells, n_genes = len(contents.obs), len(contents.var)
    lines = [
        f"{contents.path}: {n_cells:,} cells x {n_genes:,} genes, {_bytes(contents.nbytes_on_disk)}"
    ]
    for matrix in contents.matrices:
        stored = f"{_percent(matrix.n_values / max(1, n_cells * n_genes))} of it stored, "
        what = "counts" if matrix.holds_counts else "no counts in its first cells"
        lines.append(
            f"  {matrix.where}: {matrix.kind} {matrix.dtype}, {'' if matrix.kind == 'dense' else stored}"
            f"{_bytes(matrix.nbytes)} in memory; {what}"
        )
    return "\n".join(lines if contents.matrices else [*lines, "  it holds no matrix"])


def _recognised(found: Diagnosis) -> str:
    said = []
    if found.is_declared and found.settings is not None:
        said = [_listed("As the configuration says", _said(found.settings))]
    if not found.proposals:
        return "\n".join([*said, "Nothing was recognised: no column of obs looks like labels."])
    best, others = found.proposals[0], found.proposals[1 : 1 + MOST_PROPOSALS]
    said.append(f"Recognised: obs[{best.column!r}], {best.convention}")
    said += [f"  - {reason}" for reason in best.reasons]
    if others:
        said.append("Other ways to read it, less likely:")
        said += [f"  - {_in_a_line(other)}" for other in others]
    if others and not found.is_declared:
        column = others[0].column
        said.append(f"  to take one: kedro new-screen NAME --file FILE --perturbation {column}")
    return "\n".join(said)


def _in_a_line(other: Proposal) -> str:
    kind = "guides" if other.reading.guides is not None else "labels"
    control = f"control {some(other.rule.controls, 2)}" if other.rule.controls else "no control"
    return (
        f"obs[{other.column!r}], {other.convention}: {len(other.reading.labels):,} {kind} of "
        f"{len(other.reading.genes):,} genes, {control}"
    )


def _said(settings: Settings) -> list[str]:
    columns, cut = settings.columns, settings.cut
    said = [f"{field}: {value}" for field, value in vars(columns).items() if value is not None]
    lines = [", ".join(said)]
    if cut is not None:
        rule = {field: value for field, value in vars(cut.labels).items() if value}
        words = ", ".join(f"{field} {value!r}" for field, value in rule.items())
        lines.append(f"cut from the file by obs[{cut.label_column!r}]: {words}")
    return lines


def _facts(facts: Facts) -> str:
    least, median, most = facts.cells
    perturbations = f"{facts.n_perturbations:,} perturbations"
    if facts.n_combinations:
        perturbations += f" ({facts.n_combinations:,} of them combinations)"
    share = facts.n_control_cells / max(1, facts.n_cells)
    batches = "1 batch" if facts.n_batches == 1 else f"{facts.n_batches:,} batches"
    return "\n".join(
        [
            f"The screen: {facts.n_cells:,} cells x {facts.n_genes:,} genes, {perturbations}, {batches}",
            f"  {facts.n_control_cells:,} control cells ({_percent(share)}); cells of a perturbation: "
            f"{least:,} to {most:,}, median {median:,.0f}",
            f"  {facts.n_measured:,} of {facts.n_targets:,} perturbed genes are measured",
        ]
    )


def _faults(faults: Iterable[Fault]) -> str:
    listed = list(faults)
    if not listed:
        return "Faults: none"
    lines = [f"Faults: {len(listed)}"]
    for number, fault in enumerate(listed, start=1):
        lines.append(f"  {number}. {fault.where}: {fault.found}")
        lines += [f"     seen: {fault.example}"] if fault.example else []
        lines.append(f"     cure: {fault.cure}")
    return "\n".join(lines)


def _listed(heading: str, texts: Iterable[str]) -> str:
    lines = [f"  - {text}" for text in texts]
    return "\n".join([heading, *lines]) if lines else ""


def _steps(found: Diagnosis) -> str:
    if found.steps is None:
        return ""
    how = (
        ""
        if found.n_sampled is None
        else f", estimated from {found.n_sampled:,} cells that were read"
    )
    return f"What is left after each step{how}\n{_table(found.steps)}"


def _table(steps: pd.DataFrame) -> str:
    numbers = ["cells", "genes", "perturbations"]
    width = max(len(str(step)) for step in steps["step"])
    lines = [f"  {'':{width}}" + "".join(f"{name:>15}" for name in numbers)]
    for row in steps.fillna("").to_dict("records"):
        counted = "".join(f"{row[name]:>15,}" for name in numbers)
        dropped = f"; dropped: {row['dropped']}" if row.get("dropped") else ""
        lines.append(f"  {row['step']:{width}}{counted}  {row['note']}{dropped}".rstrip())
    return "\n".join(lines)


def _estimates(made: Estimates) -> str:
    available = "" if made.available is None else f", {_bytes(made.available)} available here"
    lines = [
        "Memory and time, estimated",
        f"  to read and filter: about {_bytes(made.loading + PROCESS_BYTES)}{available}",
        f"  counts of a fit: {_bytes(made.training)} ({made.layout} {made.dtype}, {made.n_cells:,} cells x "
        f"at most {made.n_genes:,} genes)",
        f"  a fit: about {_seconds(made.longest)} on one core of a server, at the speed of svae_plus; "
        f"{made.n_fits} fits: {_seconds(made.seconds)}; scores and report come on top",
    ]
    if not made.fits_in_memory:
        lines.append(
            "  That is more than there is: take fewer perturbations, control cells or genes "
            "(screens.NAME.cut, conf/README.md), or a larger machine."
        )
    return "\n".join(lines)


def _configuration(found: Diagnosis, name: str, written: list[str]) -> str:
    if written:
        return f"Wrote {', '.join(written)}. Next: kedro run --env {name}"
    if found.is_declared and not found.faults:
        return "The configuration runs as it is."
    if found.settings is None or (found.is_declared and not found.proposals):
        return ""
    if found.is_declared:
        settings, heading = propose(found.contents, found.proposals[0]), "What the file suggests:"
        how = "Change conf/ accordingly, as far as it is right."
    else:
        when = "" if not found.faults else ", once the faults are put right"
        settings, heading = found.settings, f"A configuration that runs{when}:"
        how = f"To write it: the same command with --name {name} --write; then: kedro run --env {name}"
    try:
        texts = configuration(name, found.contents, settings)
    except ScreenError:  # its cut leaves nothing: a fault above
        return ""
    parts = [f"# conf/{name}/{file}\n{text.rstrip()}" for file, text in texts.items()]
    return "\n\n".join([heading, *parts, how])


def _bytes(number: float) -> str:
    for size, unit in UNITS:
        if number >= size:
            digits = 0 if number >= 100 * size else 1
            return f"{number / size:.{digits}f} {unit}"
    return f"{number:.0f} bytes"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _seconds(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
