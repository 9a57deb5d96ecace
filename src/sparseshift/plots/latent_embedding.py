"""Cells in two dimensions, some perturbations in colour."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sparseshift.plots.style import FAINT, GROUP_COLOURS, MUTED, label, message_figure, new_figure


def latent_embedding(embedding: pd.DataFrame) -> Figure:
    """Draw a point a cell, those of highlighted groups in colour above the rest in grey.

    The axes are those of the embedding and have no unit. At most nine groups get a colour: those
    with the most cells, in alphabetical order; the legend gives their numbers of cells.
    Highlighted cells are drawn in random order (always the same one), so that no group hides
    another. Points are pixels also in a vector format.

    Args:
        embedding: a row a cell, with x, y, perturbation and highlight, the name of the cell's
            group or "".
    """
    placed = np.isfinite(embedding["x"]) & np.isfinite(embedding["y"])
    embedding = embedding[placed].reset_index(drop=True)
    if embedding.empty:
        return message_figure("There are no cells to show.")
    group = embedding["highlight"].fillna("").astype(str)
    sizes = group[group != ""].value_counts()
    shown = sorted(sizes.index[: len(GROUP_COLOURS)])
    colours = dict(zip(shown, GROUP_COLOURS, strict=False))
    figure = new_figure(5.8 + 0.24 * (-(-(len(shown) + 1) // 2)))
    axes = figure.add_subplot()
    size = float(np.clip(30_000 / len(embedding), 3.5, 20))
    rest = embedding[~group.isin(shown)]
    axes.scatter(rest["x"], rest["y"], s=size, color=FAINT, linewidths=0, rasterized=True)
    front = embedding[group.isin(shown)].sample(frac=1.0, random_state=0)
    axes.scatter(
        front["x"],
        front["y"],
        s=1.6 * size,
        c=[colours[name] for name in group.loc[front.index]],
        linewidths=0,
        rasterized=True,
    )
    axes.set(xticks=[], yticks=[], xlabel="UMAP 1", ylabel="UMAP 2")
    axes.xaxis.label.set_color(MUTED)
    axes.yaxis.label.set_color(MUTED)
    axes.spines[:].set_visible(False)
    handles = [_entry(f"{label(k, 28)} ({sizes[k]:,})", colours[k]) for k in shown]
    handles.append(_entry(_rest_label(len(rest), len(sizes) - len(shown)), FAINT))
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
    return figure


def _entry(text: str, colour: str) -> Line2D:
    return Line2D([], [], color=colour, marker="o", markersize=7, linestyle="", label=text)


def _rest_label(n_cells: int, n_groups: int) -> str:
    more = f", {n_groups} more group{'s' * (n_groups > 1)} among them" if n_groups else ""
    return f"other cells ({n_cells:,}{more})"
