"""Whether perturbations lowered or raised their targets."""

from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter

from sparseshift.plots.label_rows import MAX_ROWS, label_rows, rows_height
from sparseshift.plots.style import INK, LOWERED, RAISED, message_figure, new_figure, open_axes

_UNCLEAR = "#9a9a9a"


def target_knockdown(table: pd.DataFrame) -> Figure:
    """Draw the log2 change of each target in the cells that aim at it, the lowest first.

    A point is a target of a label, with its 95 % interval: blue if that lies below 0, red if above,
    grey if it holds 0. The axis on the other side is the same in per cent of control cells. Up to 60
    have a row each; more are a curve by rank. Long intervals may leave the figure.

    Args:
        table: a row a label and target, with perturbation, target, target_change, lower, upper (log2);
            those without a change are left out.
    """
    table = table[np.isfinite(table["target_change"].astype(float))]
    if table.empty:
        return message_figure("No target has a change: none is measured, or there is no control.")
    table = table.sort_values("target_change", kind="stable")
    return _by_name(table) if len(table) <= MAX_ROWS else _by_rank(table)


def _by_name(table: pd.DataFrame) -> Figure:
    figure = new_figure(rows_height(len(table)) + 1.3)
    axes = figure.add_subplot()
    rows, colours = np.arange(len(table)), _colours(table)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.hlines(rows, table["lower"], table["upper"], color=colours, linewidth=1.6)
    axes.scatter(table["target_change"], rows, color=colours, s=30, zorder=3)
    label_rows(axes, _names(table), [False] * len(table))
    axes.set(xlim=_limits(table), xlabel="change of the target (log2)")
    axes.set_title(_counted(table), loc="left", fontsize=10.5)
    open_axes(axes, grid="x")
    _per_cent_axis(axes, "x")
    return figure


def _by_rank(table: pd.DataFrame) -> Figure:
    figure = new_figure(3.9)
    axes = figure.add_subplot()
    rank, colours = np.arange(1, len(table) + 1), _colours(table)
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.vlines(rank, table["lower"], table["upper"], color=colours, linewidth=0.8, alpha=0.35)
    axes.scatter(rank, table["target_change"], color=colours, s=5, zorder=3)
    axes.set(xlim=(0, rank[-1] + 1), ylim=_limits(table))
    axes.set(xlabel="rank of the target, lowest first", ylabel="change of the target (log2)")
    axes.set_title(_counted(table), loc="left", fontsize=10.5)
    open_axes(axes, grid="y")
    _per_cent_axis(axes, "y")
    return figure


def _colours(table: pd.DataFrame) -> list[str]:
    sides = np.select([table["upper"] < 0, table["lower"] > 0], [LOWERED, RAISED], _UNCLEAR)
    return [str(side) for side in sides]


def _counted(table: pd.DataFrame) -> str:
    """How many of each colour."""
    lowered, raised = int((table["upper"] < 0).sum()), int((table["lower"] > 0).sum())
    unclear = len(table) - lowered - raised
    return f"{lowered:,} lowered (blue), {raised:,} raised (red), {unclear:,} unclear (grey)"


def _names(table: pd.DataFrame) -> list[str]:
    return [
        str(target) if target == perturbation else f"{target} in {perturbation}"
        for perturbation, target in table[["perturbation", "target"]].itertuples(index=False)
    ]


def _limits(table: pd.DataFrame) -> tuple[float, float]:
    """Ends of the axis of changes: around all points and 0, and around intervals unless they are long."""
    change = np.append(table["target_change"].to_numpy(dtype=float), 0.0)
    low = np.fmax(table["lower"].min(), change.min() - 2)  # fmax: intervals may be missing
    high = np.fmin(table["upper"].max(), change.max() + 2)
    return float(min(low, -0.5)) - 0.2, float(max(high, 0.5)) + 0.2


def _per_cent_axis(axes: Axes, which: Literal["x", "y"]) -> None:
    """The same axis in per cent of control cells, on the other side."""
    along_x = which == "x"
    low, high = axes.get_xlim() if along_x else axes.get_ylim()
    steps = (1, 2, 5) if high - low < (7 if along_x else 12) else (1,)
    ticks = [np.log2(step * 10.0**power) for power in range(-6, 4) for step in steps]
    other = axes.secondary_xaxis("top") if along_x else axes.secondary_yaxis("right")
    axis = other.xaxis if along_x else other.yaxis
    edge = 0.03 * (high - low)  # away from the numbers of the other axis
    axis.set_major_locator(FixedLocator([t for t in ticks if low + edge <= t <= high - edge]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * 2**value:,.6g} %"))
    axis.set_label_text("expression, per cent of control cells")
    other.spines[:].set_visible(False)
    other.tick_params(length=0)
