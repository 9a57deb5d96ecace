"""A true graph beside a recovered one: which edges were found, missed, made up."""

import numpy as np
import pandas as pd
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from sparseshift.plots.effect_matrix import ordered_rows
from sparseshift.plots.style import label, message_figure, new_figure

_KINDS = {  # colour, words
    "neither": ("#ffffff", ""),
    "found": ("#009e73", "found"),
    "missed": ("#e69f00", "missed"),
    "wrong": ("#b2182b", "not there"),
}


def graph_comparison(shifts: pd.DataFrame, inclusion: pd.DataFrame) -> Figure:
    """Draw the edges of both graphs, perturbations x true latents.

    Rows are clustered by their true shifts; of more than 120 perturbations those with the largest shifts
    are shown.

    Args:
        shifts: true ones, 0 where there is no edge, (perturbations, true latents).
        inclusion: probabilities of the matched latents, the same rows and columns; an edge is above 1/2.
    """
    if shifts.empty:
        return message_figure("There are no perturbations or no latents.")
    inclusion = inclusion.loc[shifts.index, shifts.columns]
    rows = ordered_rows(shifts.to_numpy(dtype=float))
    true = shifts.to_numpy()[rows] != 0.0
    found = inclusion.to_numpy()[rows] > 0.5
    kind = np.where(true & found, 1, np.where(true, 2, np.where(found, 3, 0)))
    figure = new_figure(0.085 * len(rows) + 1.4)
    axes = figure.subplots()
    colours = ListedColormap([colour for colour, _ in _KINDS.values()])
    axes.imshow(kind, cmap=colours, vmin=-0.5, vmax=3.5, aspect="auto", interpolation="nearest")
    names = [label(str(name), 12) for name in shifts.columns]
    axes.set_xticks(range(len(names)), names, fontsize=9, rotation=90)
    axes.set_yticks([])
    axes.set_ylabel(f"{len(rows)} of {len(shifts)} trained perturbations")
    axes.set_xticks(np.arange(1, len(names)) - 0.5, minor=True)
    axes.grid(which="minor", axis="x", color="#eeeeee", linewidth=0.8)
    axes.tick_params(which="both", length=0)
    handles = [
        Patch(color=colour, label=f"{words} ({int((kind == code).sum())})")
        for code, (colour, words) in enumerate(_KINDS.values())
        if words
    ]
    axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3, frameon=False)
    return figure
