"""Which columns and layer a screen uses, and how its perturbation labels are read."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sparseshift.data.design import parts


@dataclass(frozen=True)
class Columns:
    """Where a screen keeps what the models need.

    Attributes:
        perturbation: Column of `obs` with what was done to each cell: a gene, `A+B`, or the control's name.
        control: Label of the unperturbed cells; None where a screen has none.
        batch: Column of `obs` with the batch; None where there is one batch.
        layer: Layer that holds the counts; None for `X`.
        symbol: Column of `var` with gene symbols, where the names of `var` are others; None: they are the
            names. Perturbed genes are looked up among them, and figures show them.
    """

    perturbation: str
    control: str | None = None
    batch: str | None = None
    layer: str | None = None
    symbol: str | None = None

    def __post_init__(self) -> None:
        if self.control is not None:  # labels are stripped too
            object.__setattr__(self, "control", self.control.strip())


def combine(labels: str | Iterable[str], control: str | None = None) -> str:
    """The canonical label of a combination: its parts stripped, sorted, each once, the control dropped.

    Args:
        labels: One label, which may itself join parts with `+`, or several to combine.
        control: The control's label. A combination of nothing but the control is the control.

    Returns:
        The label under which equal combinations are equal.

    Example:
        >>> combine("B + A"), combine(["B", "A"]), combine("A+ctrl", control="ctrl")
        ('A+B', 'A+B', 'A')
    """
    text = labels if isinstance(labels, str) else "+".join(labels)
    if control is not None and text.strip() == control.strip():
        return control.strip()
    found = set(parts(text)) - {""} - control_names(control)
    if not found and control is not None and set(parts(text)) & control_names(control):
        return control.strip()
    return "+".join(sorted(found))


def control_names(control: str | None) -> set[str]:
    """What the control may be called; as a part too, since some screens say `ctrl+ctrl` and `A+ctrl`."""
    if control is None:
        return set()
    found = set(parts(control))
    return found | {control.strip()} if len(found) == 1 else {control.strip()}


def canonical(values: pd.Series, control: str | None = None) -> pd.Series:
    """Every cell's canonical label as a string; a missing value becomes the empty string."""
    codes, uniques = pd.factorize(values)
    texts = np.array([*(combine(str(value), control) for value in uniques), ""], dtype=object)
    return pd.Series(texts[codes], index=values.index, name=values.name, dtype=object)


def targets(labels: Iterable[str], control: str | None = None) -> set[str]:
    """The parts of all labels, the control left out: the genes that the screen perturbs."""
    found = {part for label in set(labels) for part in parts(label)}
    return found - {""} - control_names(control)


def gene_symbols(var: pd.DataFrame, columns: Columns) -> pd.Index:
    """The symbol of each gene, (genes,); a symbol may be there more than once."""
    return pd.Index(var.index if columns.symbol is None else var[columns.symbol]).astype(str)
