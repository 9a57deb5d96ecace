"""Which cells and genes of a file are wanted, found in its annotation alone."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from sparseshift.errors import OptionError
from sparseshift.screens.columns import targets
from sparseshift.screens.cut.labels import LabelRule
from sparseshift.screens.faults import Fault, near, raise_faults, some


@dataclass(frozen=True)
class Cut:
    """What is taken from a file.

    Attributes:
        label_column: obs column that says what was done to a cell.
        labels: How it says so.
        drop: obs column to values: cells with one of them are left out.
        perturbations: Genes; cells of other perturbations are left out. A combination needs all its
            genes here. None: all.
        n_control_cells: So many control cells, drawn; None: all there are.
        seed: Of the draw.
        genes: Symbols of the measured genes that are wanted, in any order; None: all.
        symbol: var column with the symbols; None: the names of var.
        layer: That holds the counts; None: X.
    """

    label_column: str
    labels: LabelRule = field(default_factory=LabelRule)
    drop: dict[str, tuple[str, ...]] = field(default_factory=dict)
    perturbations: tuple[str, ...] | None = None
    n_control_cells: int | None = None
    seed: int = 0
    genes: tuple[str, ...] | None = None
    symbol: str | None = None
    layer: str | None = None

    def __post_init__(self) -> None:
        if self.n_control_cells is not None and self.n_control_cells < 0:
            raise OptionError(f"n_control_cells is {self.n_control_cells}: it must be 0 or more.")


@dataclass(frozen=True)
class Choice:
    """The cells and genes that a cut takes.

    Attributes:
        cells: (n,) int64, positions in the file, increasing.
        genes: (m,) int64, positions in the file, increasing.
        labels: (n,) canonical label of each cell.
        steps: A row for each step, as `filters.filter_screen` has them.
    """

    cells: np.ndarray
    genes: np.ndarray
    labels: np.ndarray
    steps: pd.DataFrame


def choose(obs: pd.DataFrame, var: pd.DataFrame, cut: Cut) -> Choice:
    """Finds the cells and genes of a cut.

    Args:
        obs: Of the file.
        var: Of the file.
        cut: What is wanted.

    Raises:
        ScreenError: Columns are missing, or nothing remains.
    """
    raise_faults(
        [*_missing(obs, "obs", [cut.label_column, *cut.drop]), *_missing(var, "var", [cut.symbol])]
    )
    labels = cut.labels.apply(obs[cut.label_column]).to_numpy(dtype=object)
    steps = _Steps(labels, cut.labels.control, len(var))
    keep = np.ones(len(obs), dtype=bool)
    steps.add("as published", keep)
    for column, values in cut.drop.items():
        found = obs[column].astype(str).isin(values).to_numpy()
        keep &= ~found
        steps.add(f"drop {column}", keep, f"{found.sum()} cells with {some(values)}")
    keep &= labels != ""
    steps.add("labelled", keep, "" if keep.all() else "cells without a label are dropped")
    if cut.perturbations is not None:
        wanted, note = _wanted_labels(labels[keep], cut)
        keep &= np.isin(labels.astype(str), wanted)
        steps.add("listed perturbations", keep, note)
    keep, note = _fewer_controls(keep, labels, cut)
    steps.add("control cells", keep, note)
    genes, note = _genes(var, cut)
    steps.n_genes = len(genes)
    steps.add("listed genes", keep, note)
    raise_faults(_nothing(keep, genes, cut))
    cells = np.flatnonzero(keep)
    return Choice(cells, genes, labels[cells].astype(str), steps.table())


class _Steps:
    """Cells, genes and perturbations after each step."""

    def __init__(self, labels: np.ndarray, control: str | None, n_genes: int) -> None:
        self.labels, self.control, self.n_genes = labels, control, n_genes
        self.rows: list[dict[str, Any]] = []
        self._before: set[str] = set()

    def add(self, step: str, keep: np.ndarray, note: str = "") -> None:
        left = set(pd.unique(self.labels[keep])) - {self.control, ""}
        dropped = sorted(self._before - left)
        more = f" and {len(dropped) - 20} more" if len(dropped) > 20 else ""
        self._before = left
        self.rows.append(
            {
                "step": step,
                "cells": int(keep.sum()),
                "genes": self.n_genes,
                "perturbations": len(left),
                "dropped": ", ".join(dropped[:20]) + more,
                "note": note,
            }
        )

    def table(self) -> pd.DataFrame:
        return pd.DataFrame(self.rows)


def _missing(frame: pd.DataFrame, axis: str, names: Sequence[str | None]) -> list[Fault]:
    there = [str(column) for column in frame.columns]
    faults = []
    for name in names:
        if name is not None and name not in frame.columns:
            close = near(name, there, n=1)
            meant = f"Did you mean {close[0]!r}?" if close else "Name one of those there are."
            faults.append(
                Fault(
                    f"{axis}[{name!r}]",
                    "the file has no such column",
                    f"columns {some(there, 30)}",
                    meant,
                )
            )
    return faults


def _wanted_labels(labels: np.ndarray, cut: Cut) -> tuple[list[str], str]:
    listed = set(cut.perturbations or ())
    control = cut.labels.control
    there = [str(label) for label in pd.unique(labels)]
    wanted = [label for label in there if label == control or targets([label], control) <= listed]
    found = targets(wanted, control)
    absent = sorted(listed - found)
    note = f"{len(found)} of {len(listed)} listed genes are perturbed here"
    return wanted, f"{note}; not: {some(absent, 20)}" if absent else note


def _fewer_controls(keep: np.ndarray, labels: np.ndarray, cut: Cut) -> tuple[np.ndarray, str]:
    controls = np.flatnonzero(keep & (labels == cut.labels.control))
    if cut.n_control_cells is None or len(controls) <= cut.n_control_cells:
        return keep, f"all {len(controls)}"
    drawn = np.random.default_rng(cut.seed).choice(controls, cut.n_control_cells, replace=False)
    fewer = keep.copy()
    fewer[controls] = False
    fewer[drawn] = True
    return fewer, f"{cut.n_control_cells} of {len(controls)}, drawn with seed {cut.seed}"


def _genes(var: pd.DataFrame, cut: Cut) -> tuple[np.ndarray, str]:
    if cut.genes is None:
        return np.arange(len(var)), "all"
    symbols = (var.index if cut.symbol is None else var[cut.symbol]).astype(str)
    listed = set(cut.genes)
    chosen = np.flatnonzero(symbols.isin(listed))
    found = pd.Series(np.asarray(symbols, dtype=object)[chosen])
    twice, absent = found[found.duplicated()].unique(), sorted(listed - set(found))
    notes = [
        f"{found.nunique()} of {len(listed)} listed symbols are measured",
        f"more than once, all kept: {some(twice, 10)}" if len(twice) else "",
        f"not: {some(absent, 20)}" if absent else "",
    ]
    return chosen, "; ".join(filter(None, notes))


def _nothing(keep: np.ndarray, genes: np.ndarray, cut: Cut) -> list[Fault]:
    faults = []
    if not keep.any():
        faults.append(
            Fault(
                "cut",
                "no cells remain",
                f"labels are read from obs[{cut.label_column!r}]",
                "Compare the listed perturbations with that column: kedro doctor shows its values.",
            )
        )
    if not len(genes):
        where = "the names of var" if cut.symbol is None else f"var[{cut.symbol!r}]"
        faults.append(
            Fault(
                "cut",
                "no genes remain",
                f"listed: {some(cut.genes or (), 5)}",
                f"They are looked for in {where}; set symbol to the var column with gene symbols.",
            )
        )
    return faults
