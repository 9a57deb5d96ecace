"""Faults of the columns and labels of a screen: missing, misspelt, unnamed, without a control."""

import re
from collections.abc import Collection, Iterable, Sequence

import pandas as pd
from anndata import AnnData
from pandas.api import types

from sparseshift.data.design import parts
from sparseshift.screens.columns import Columns, canonical, combine, control_names, targets
from sparseshift.screens.faults import Fault, near, some

USUAL_CONTROLS = "control, ctrl, non-targeting, NT, neg, NegCtrl, safe-targeting"
USUAL_BATCHES = {
    "batch",
    "gemgroup",
    "gem_group",
    "lane",
    "sample",
    "replicate",
    "bio_rep",
    "donor",
}
# Short names must match whole: WT1, NTF3 and CONT are not controls.
SHORT_CONTROLS = {
    "nt",
    "ntc",
    "neg",
    "con",
    "wt",
    "ctl",
    "mock",
    "dmso",
    "vehicle",
    "safe",
    "wildtype",
}
LONG_CONTROLS = re.compile(
    "control|ctrl|nontarget|safetarget|scrambled?$|unperturbed|untreated|negative"
)
UNNAMED = {"", "nan", "<na>"}


def looks_like_control(label: str) -> bool:
    """Whether unperturbed cells are often called so."""
    letters = re.sub("[^a-z0-9]", "", label.casefold())
    return letters in SHORT_CONTROLS or LONG_CONTROLS.search(letters) is not None


def find_label_faults(
    adata: AnnData, columns: Columns, held_out: Collection[str] = ()
) -> list[Fault]:
    """Every fault of the perturbation and batch columns, the control and the held-out perturbations."""
    faults = find_column_faults(adata, columns)
    for column in dict.fromkeys((columns.perturbation, columns.batch)):
        if column in adata.obs:
            faults += _unnamed(adata.obs[column])
    if columns.perturbation not in adata.obs:
        return faults
    values = adata.obs[columns.perturbation]
    if numbers := _numbers(values):
        return [*faults, numbers]
    labels = canonical(values[~_is_unnamed(values)], columns.control)
    held_out = [held_out] if isinstance(held_out, str) else list(held_out)
    return [
        *faults,
        *_impossible_parts(values, columns),
        *_control(labels, columns),
        *_held_out(labels, columns, held_out),
    ]


def find_unknown_faults(adata: AnnData, columns: Columns, names: Collection[str]) -> list[Fault]:
    """Perturbations named under `shared_mechanism` that no cell has, alone or in a combination."""
    if columns.perturbation not in adata.obs:
        return []
    labels = set(canonical(adata.obs[columns.perturbation], columns.control))
    known = sorted(targets(labels, columns.control))
    return [
        _absent(
            "shared_mechanism", name, known, f"Name perturbations of {columns.perturbation!r}."
        )
        for name in names
        if name not in known
    ]


def find_column_faults(adata: AnnData, columns: Columns) -> list[Fault]:
    """Columns that the screen does not have."""
    wanted = {"perturbation": columns.perturbation, "batch": columns.batch}
    return [*_missing_symbols(adata, columns.symbol)] + [
        _missing_column(adata.obs, role, name, columns.control)
        for role, name in wanted.items()
        if name is not None and name not in adata.obs
    ]


def _missing_symbols(adata: AnnData, symbol: str | None) -> list[Fault]:
    if symbol is None or symbol in adata.var:
        return []
    there = [str(column) for column in adata.var.columns]
    close = near(symbol, there, n=1)
    meant = f"Did you mean {close[0]!r}? Set symbol={close[0]!r}." if close else ""
    return [
        Fault(
            f"var[{symbol!r}]",
            "there is no such column (option symbol)",
            f"columns {some(there, 30)}" if there else "",
            meant
            or "Name the var column with gene symbols, or leave symbol out if the names of var are symbols.",
        )
    ]


def _missing_column(obs: pd.DataFrame, role: str, name: str, control: str | None) -> Fault:
    names = [str(column) for column in obs.columns]
    likely = _with_control(obs, control) if role == "perturbation" else _usual_batches(names)
    if close := near(name, names, n=1):
        cure = f"Did you mean {close[0]!r}? Set {role}={close[0]!r}."
    elif likely:
        column, why = likely[0]
        cure = f"{column!r} {why}, so it may be the one: set {role}={column!r}."
    else:
        cure = f"Set {role} to one of the columns there are, or add it to adata.obs."
    there_are = f"columns {some(names, 30)}" if names else ""
    return Fault(f"obs[{name!r}]", f"there is no such column (option {role})", there_are, cure)


def _with_control(obs: pd.DataFrame, control: str | None) -> list[tuple[str, str]]:
    """Columns with the control's own name first, then those with a usual name."""
    exact, usual = [], []
    for column in obs.columns:
        if types.is_numeric_dtype(obs[column]):
            continue
        values = [str(value) for value in obs[column].dropna().unique()]
        if control in values:
            exact.append((str(column), f"holds {control!r}"))
        elif found := [value for value in values if looks_like_control(value)]:
            usual.append((str(column), f"holds {found[0]!r}"))
    return exact + usual


def _usual_batches(names: Iterable[str]) -> list[tuple[str, str]]:
    return [(name, "is a usual name") for name in names if name.casefold() in USUAL_BATCHES]


def _is_unnamed(values: pd.Series) -> pd.Series:
    return canonical(values).str.casefold().isin(UNNAMED)


def _unnamed(values: pd.Series) -> list[Fault]:
    unnamed = _is_unnamed(values)
    if not unnamed.any():
        return []
    first = values[unnamed].iloc[:3]
    example = ", ".join(f"cell {str(cell)!r} has {value!r}" for cell, value in first.items())
    found = f"{unnamed.sum()} of {len(values)} cells have no label (missing, empty or 'nan')"
    where = f"obs[{values.name!r}]"
    cure = f"Name them if you know what they are, or drop them: adata = adata[adata.{where}.notna()].copy()."
    if values[unnamed].notna().any():
        cure += f" Text such as 'nan' is first made missing: adata.{where} = adata.{where}.astype(object).replace(['', 'nan'], None)."
    return [Fault(where, found, example, cure)]


def _numbers(values: pd.Series) -> Fault | None:
    """Whole numbers may name perturbations; measurements and true/false cannot."""
    dtype = (
        values.cat.categories.dtype
        if isinstance(values.dtype, pd.CategoricalDtype)
        else values.dtype
    )
    if types.is_integer_dtype(dtype) or not types.is_numeric_dtype(dtype):
        return None
    return Fault(
        f"obs[{values.name!r}]",
        f"it holds numbers ({dtype}), not names of perturbations",
        some(values.dropna().unique(), 3),
        "Set perturbation to the column with the names (a gene, 'A+B', the control), or write names into "
        "this one; whole numbers (an integer dtype) are taken as names.",
    )


def _impossible_parts(values: pd.Series, columns: Columns) -> list[Fault]:
    """Parts of a combination that would become perturbations of their own though they are none."""
    impossible: dict[str, str] = {}
    for label in sorted({str(value) for value in values.dropna().unique()}):
        for part in parts(label) if "+" in label and combine(label) else []:
            if reason := _why_impossible(part, columns.control):
                impossible[label] = reason
    if not impossible:
        return []
    cells = int(values.astype(str).isin(list(impossible)).sum())
    label, reason = next(iter(impossible.items()))
    return [
        Fault(
            f"obs[{values.name!r}]",
            f"{len(impossible)} combinations ({cells} cells) have a part that is no perturbation: {reason}",
            some(impossible),
            f"Rename them, as {label!r} to {_without_impossible(label, columns.control)!r}, "
            "or set control to that part's name if it is the control.",
        )
    ]


def _why_impossible(part: str, control: str | None) -> str:
    if part.casefold() in UNNAMED:
        return f"a part is {part!r}"
    if part in control_names(control) or not looks_like_control(part):
        return ""
    named = f"the control is {control!r}" if control is not None else "no control is named"
    return f"{part!r} looks like a control, but {named}"


def _without_impossible(label: str, control: str | None) -> str:
    kept = [part for part in parts(label) if not _why_impossible(part, control)]
    return combine(kept, control) or control or "control"


def _control(labels: pd.Series, columns: Columns) -> list[Fault]:
    where, names = f"obs[{columns.perturbation!r}]", sorted(set(labels))
    if columns.control is None:
        return _one_label(where, names, len(labels))
    control = columns.control.strip()
    if control not in names:
        return [_missing_control(where, control, names)]
    if names == [control]:
        found = f"all {len(labels)} cells are the control {control!r}: no cell is perturbed"
        return [
            Fault(
                where,
                found,
                some(names),
                "Set perturbation to the column that says what was done to each cell.",
            )
        ]
    return []


def _one_label(where: str, names: Sequence[str], n_cells: int) -> list[Fault]:
    if len(names) != 1:
        return []
    found = f"all {n_cells} cells have one label and there is no control: nothing can be compared"
    return [
        Fault(
            where,
            found,
            some(names),
            "Set perturbation to the column that says what was done to each cell.",
        )
    ]


def _missing_control(where: str, control: str, names: Sequence[str]) -> Fault:
    likely = near(control, names, n=1) or [name for name in names if looks_like_control(name)]
    if likely:
        cure = f"Did you mean {likely[0]!r}? Set control={likely[0]!r}."
    else:
        cure = "Set control to the label of the unperturbed cells, or to None if there are none."
    found = f"no cell has the control's label {control!r}"
    labels = f"labels {some(names, 8)}"
    return Fault(where, found, labels, f"{cure} Usual names: {USUAL_CONTROLS}.")


def _held_out(labels: pd.Series, columns: Columns, held_out: Sequence[str]) -> list[Fault]:
    control = columns.control and columns.control.strip()
    names = sorted(set(labels) - {control})
    wanted = {combine(name, columns.control): name for name in held_out}
    faults = []
    for label, name in wanted.items():
        if label == control:
            faults.append(_held_out_control(name))
        elif label not in names:
            only = f"Hold out perturbations of obs[{columns.perturbation!r}] only."
            faults.append(_absent("held_out", name, names, only))
    if names and set(names) <= set(wanted):
        found = f"all {len(names)} perturbations are held out: none is left to train on"
        faults.append(Fault("held_out", found, some(names), "Hold out fewer."))
    return faults


def _held_out_control(name: str) -> Fault:
    cure = "Leave it out of held_out: the control's cells are split like those of any trained perturbation."
    return Fault("held_out", f"{name!r} is the control, which cannot be held out", "", cure)


def _absent(where: str, name: str, names: Sequence[str], cure: str) -> Fault:
    close = near(name, names)
    there_are = f"perturbations {some(names, 8)}"
    meant = f"Did you mean {' or '.join(map(repr, close))}? " if close else ""
    found = f"{name!r} is not a perturbation of this screen"
    return Fault(where, found, there_are, f"{meant}{cure}")
