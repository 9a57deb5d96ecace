"""How much was counted in the cells of each perturbation."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from sparseshift.plots.label_rows import MAX_ROWS, label_rows, rows_height
from sparseshift.plots.log_axis import log_axis
from sparseshift.plots.style import FAINT, INK, MUTED, message_figure, new_figure, open_axes

_QUANTILES = ["counts_q10", "counts_median", "counts_q90"]


def counts_per_cell(table: pd.DataFrame) -> Figure:
    """Draw the counts (UMIs) of a cell for each label: median, and from the 10 % to the 90 % quantile.

    Labels are in the order of their medians, the highest first; the axis is logarithmic, with 0 drawn
    at 1. Up to 60 labels have a row each, the control in black, its median a line through all rows.
    More perturbations are a curve by rank within the band of their quantiles; the control is a line.

    Args:
        table: a row a label, with perturbation, is_control, counts_q10, counts_median, counts_q90.
    """
    if table.empty:
        return message_figure("There are no cells.")
    table = table.sort_values("counts_median", ascending=False, kind="stable")
    table = table.assign(**table[_QUANTILES].clip(lower=1.0))
    return _by_name(table) if len(table) <= MAX_ROWS else _by_rank(table)


def _by_name(table: pd.DataFrame) -> Figure:
    figure = new_figure(rows_height(len(table)) + 0.7)
    axes = figure.add_subplot()
    log_axis(axes, "x", table[_QUANTILES].to_numpy().ravel())
    low, median, high = table[_QUANTILES].to_numpy(dtype=float).T
    rows = np.arange(len(table))
    colours = [INK if control else MUTED for control in table["is_control"]]
    for own in median[table["is_control"]]:
        axes.axvline(own, color=INK, linestyle="--", linewidth=1)
    axes.hlines(rows, low, high, color=colours, linewidth=2, alpha=0.6)
    axes.scatter(median, rows, color=colours, s=30, zorder=3)
    label_rows(axes, table["perturbation"].tolist(), table["is_control"].tolist())
    with_control = "counts a cell (bold, dashed: control)"
    axes.set_xlabel(with_control if table["is_control"].any() else "counts a cell")
    open_axes(axes, grid="x")
    return figure


def _by_rank(table: pd.DataFrame) -> Figure:
    figure = new_figure(3.9)
    axes = figure.add_subplot()
    log_axis(axes, "y", table[_QUANTILES].to_numpy().ravel())
    is_control = table["is_control"].to_numpy(dtype=bool)
    low, median, high = table.loc[~is_control, _QUANTILES].to_numpy(dtype=float).T
    rank = np.arange(1, len(median) + 1)
    axes.fill_between(
        rank, low, high, color=FAINT, alpha=0.6, linewidth=0, label="10 % to 90 % of their cells"
    )
    axes.plot(
        rank, median, color=MUTED, linewidth=2.5, label=f"medians of {len(median):,} perturbations"
    )
    for own in table.loc[is_control, _QUANTILES].to_numpy(dtype=float):
        for n, style, width in zip(own, (":", "--", ":"), (1, 1.4, 1), strict=True):
            axes.axhline(n, color=INK, linestyle=style, linewidth=width)
        axes.plot([], [], color=INK, linestyle="--", label=f"control, median ({own[1]:,.0f})")
        axes.plot([], [], color=INK, linestyle=":", label="control, 10 % and 90 %")
    axes.set(
        xlabel="rank of the perturbation, highest median first",
        ylabel="counts a cell",
        xlim=(0, rank[-1] + 1),
    )
    open_axes(axes)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9.5)
    return figure
