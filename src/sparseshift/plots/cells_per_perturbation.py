"""How many cells each perturbation has."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from sparseshift.plots.label_rows import MAX_ROWS, label_rows, rows_height
from sparseshift.plots.log_axis import log_axis
from sparseshift.plots.style import (
    FAINT,
    INK,
    MUTED,
    message_figure,
    new_figure,
    open_axes,
)


def cells_per_perturbation(table: pd.DataFrame) -> Figure:
    """Draw the cells of each label, the most first, on a logarithmic axis.

    Up to 60 labels have a row each, with name and number, the control in black. More perturbations
    are a curve by rank, with their median and the range of the middle four fifths; the control is a
    line of its own.

    Args:
        table: a row a label, with perturbation, is_control, cells.
    """
    if table.empty:
        return message_figure("There are no cells.")
    table = table.sort_values("cells", ascending=False, kind="stable")
    return _by_name(table) if len(table) <= MAX_ROWS else _by_rank(table)


def _by_name(table: pd.DataFrame) -> Figure:
    figure = new_figure(rows_height(len(table)) + 0.7)
    axes = figure.add_subplot()
    cells = table["cells"].to_numpy(dtype=float)
    log_axis(axes, "x", cells)
    rows = np.arange(len(table))
    colours = [INK if control else MUTED for control in table["is_control"]]
    axes.hlines(rows, axes.get_xlim()[0], cells, color=FAINT, linewidth=1.2)
    axes.scatter(cells, rows, color=colours, s=30, zorder=3)
    for row, n in enumerate(cells):
        axes.text(
            1.1,
            row,
            f"{n:,.0f}",
            transform=axes.get_yaxis_transform(),
            ha="right",
            va="center",
            fontsize=9,
        )
    label_rows(axes, table["perturbation"].tolist(), table["is_control"].tolist())
    axes.set_xlabel("cells (bold: control)" if table["is_control"].any() else "cells")
    open_axes(axes, grid="x")
    return figure


def _by_rank(table: pd.DataFrame) -> Figure:
    figure = new_figure(3.9)
    axes = figure.add_subplot()
    cells = table["cells"].to_numpy(dtype=float)
    is_control = table["is_control"].to_numpy(dtype=bool)
    perturbed = cells[~is_control]
    low, median, high = np.quantile(perturbed, [0.1, 0.5, 0.9])
    log_axis(axes, "y", cells)
    axes.axhspan(
        low,
        high,
        color=FAINT,
        alpha=0.45,
        linewidth=0,
        label=f"middle four fifths ({low:,.0f} to {high:,.0f})",
    )
    axes.axhline(median, color=MUTED, linewidth=1, label=f"median ({median:,.0f})")
    rank = np.arange(1, len(perturbed) + 1)
    axes.plot(rank, perturbed, color=MUTED, linewidth=3, label=f"{len(perturbed):,} perturbations")
    for n in cells[is_control]:
        axes.axhline(n, color=INK, linestyle="--", linewidth=1.4, label=f"control ({n:,.0f})")
    axes.set(
        xlabel="rank of the perturbation, most cells first", ylabel="cells", xlim=(0, rank[-1] + 1)
    )
    open_axes(axes)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9.5)
    return figure
