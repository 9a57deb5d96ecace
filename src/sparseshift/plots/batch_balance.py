"""Which batches the cells of each label lie in, against what chance would give."""

import re

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sparseshift.plots.label_rows import MAX_ROWS, label_rows, rows_height
from sparseshift.plots.style import DIVERGING, label, message_figure, new_figure

MAX_BATCHES = 60
_ADDED = 4.0  # cells, to the found and to the expected: few cells say little
_LIMIT = 3.0  # log2, the ends of the colours


def batch_balance(table: pd.DataFrame) -> Figure:
    """Draw for each label and batch how many cells there are over how many one would expect.

    Expected are the label's cells times the batch's share of all cells. The colour is log2 of found
    over expected, four added to both, so that few cells stay pale: red for too many, blue for too
    few. The control is on top; then those that differ most from the expected (root of the sum of
    squares of what is shown). At most 60 labels and 60 batches are shown, those that differ most, as
    the axes say.

    Args:
        table: a row a label and batch, with perturbation, is_control, batch, cells.
    """
    table = table.astype({"perturbation": str, "batch": str})  # numbers, if read from a file
    cells = table.pivot_table("cells", "perturbation", "batch", "sum", fill_value=0)
    if cells.shape[1] < 2:
        return message_figure("There is one batch.")
    control = set(table.loc[table["is_control"].astype(bool), "perturbation"])
    shown = _shown(_log_ratio(cells), control)
    height = rows_height(len(shown))
    figure = new_figure(height + 1.9)
    scale, axes = figure.subplots(2, 1, height_ratios=[0.14, height])
    image = axes.imshow(shown, cmap=DIVERGING, vmin=-_LIMIT, vmax=_LIMIT, aspect="auto")
    label_rows(axes, shown.index.tolist(), [name in control for name in shown.index])
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_ylabel(_axis_label("label", len(shown), len(cells)))
    _label_batches(axes, shown.columns.tolist(), cells.shape[1], labels_on_top=len(shown) > 30)
    bar = figure.colorbar(image, cax=scale, orientation="horizontal", extend="both")
    bar.set_label("cells found / cells expected (log2, 4 cells added to both)")
    scale.xaxis.set_ticks_position("top")
    scale.xaxis.set_label_position("top")
    return figure


def _log_ratio(cells: pd.DataFrame) -> pd.DataFrame:
    counts = cells.to_numpy(dtype=float)
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / counts.sum()
    return np.log2((cells + _ADDED) / (expected + _ADDED))


def _shown(ratio: pd.DataFrame, control: set[str]) -> pd.DataFrame:
    """The labels, the control first, and the batches that differ most, batches in the order of their names."""
    size = (ratio**2).sum(axis=1).where(~ratio.index.isin(control), np.inf)
    rows = size.sort_values(ascending=False, kind="stable").index[:MAX_ROWS]
    batches = (ratio**2).sum().sort_values(ascending=False, kind="stable").index[:MAX_BATCHES]
    return ratio.loc[rows, sorted(batches, key=_natural)]


def _natural(name: str) -> list[tuple[int, str]]:
    """Sorts 2 before 10."""
    return [(int(run) if run.isdecimal() else -1, run) for run in re.split(r"([0-9]+)", name)]


def _label_batches(axes: Axes, names: list[str], n_all: int, *, labels_on_top: bool) -> None:
    texts = [label(name, 14) for name in names]
    width = 5.0 / len(texts)  # inches, as a rule
    upright = max(map(len, texts)) * 0.08 > width
    step = int(np.ceil((0.14 if upright else 0.0) / width)) or 1
    places = range(0, len(texts), step)
    axes.set_xticks(places, texts[::step], fontsize=9, rotation=90 if upright else 0)
    axes.tick_params(axis="x", length=2 if step > 1 else 0, labeltop=labels_on_top)
    named = {1: "", 2: ", every other named", 3: ", every third named"}.get(step, "")
    axes.set_xlabel(_axis_label("batch", len(names), n_all) + named)


def _axis_label(what: str, n: int, n_all: int) -> str:
    return what if n == n_all else f"{what} (the {n} of {n_all:,} that differ most)"
