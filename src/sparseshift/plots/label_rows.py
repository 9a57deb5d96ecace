"""Figures with a row for each label: how high they are, and the names at the side."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from sparseshift.plots.style import label

MAX_ROWS = 60  # labels whose names are drawn


def rows_height(n_rows: int) -> float:
    """Inches that so many rows with names take."""
    return max((0.17 if n_rows > 40 else 0.22) * n_rows, 0.6)


def label_rows(axes: Axes, names: Sequence[str], bold: Sequence[bool]) -> None:
    """Write the names at the left, the first on top."""
    axes.set_yticks(range(len(names)), [label(name) for name in names], fontsize=9)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    for tick, strong in zip(axes.get_yticklabels(), bold, strict=True):
        tick.set_fontweight("bold" if strong else "normal")
