"""Which perturbation shifts which latent: the matrix of expected effects, with its edges."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from scipy.cluster.hierarchy import leaves_list, linkage

from sparseshift.plots.style import DIVERGING, INK, label, message_figure, new_figure

MAX_ROWS = 120
_NEGLIGIBLE = 0.01  # of the largest entry: not to be told from white


def effect_matrix(effects: pd.DataFrame, inclusion: pd.DataFrame) -> Figure:
    """Draw inclusion probability x effect, perturbations x latents.

    The colour is the expected shift of a latent in units of its standard deviation within a
    perturbation, red upwards, blue downwards. A dot is an edge: an inclusion probability above
    1/2. Rows are ordered by hierarchical clustering (Euclidean, average linkage), those without a
    visible shift last. Latents with an edge are in black, the others in grey. Of more than 120
    perturbations those with the largest shift (Euclidean norm) are shown, which the axis says.

    Args:
        effects: shift of each latent where it is a target, (perturbations, latents).
        inclusion: probability that it is one, the same rows and columns.
    """
    if effects.empty:
        return message_figure("There are no perturbations or no latents.")
    inclusion = inclusion.loc[effects.index, effects.columns]
    shifts = (effects * inclusion).fillna(0.0).to_numpy(dtype=float)
    rows = ordered_rows(shifts)
    shifts, edges = shifts[rows], inclusion.to_numpy(dtype=float)[rows] > 0.5
    cell = 0.17 if len(rows) > 40 else 0.24
    height = max(cell * len(rows), 0.6)
    figure = new_figure(height + 1.9)
    scale, axes = figure.subplots(2, 1, height_ratios=[0.14, height])
    limit, cut = _colour_limit(shifts)
    image = axes.imshow(shifts, cmap=DIVERGING, vmin=-limit, vmax=limit, aspect="auto")
    _draw_edges(axes, shifts, edges, limit)
    _label_rows(axes, effects.index[rows].tolist(), n_all=len(effects))
    _label_latents(axes, effects.columns.tolist(), edges.any(axis=0), len(rows))
    colours = ScalarMappable(image.norm if limit else Normalize(-1, 1), DIVERGING)
    bar = figure.colorbar(
        colours, cax=scale, orientation="horizontal", extend="both" if cut else "neither"
    )
    bar.set_label("inclusion probability × effect (standard deviations); dot: edge")
    scale.xaxis.set_ticks_position("top")
    scale.xaxis.set_label_position("top")
    return figure


def ordered_rows(shifts: np.ndarray) -> np.ndarray:
    """Row numbers as drawn: at most MAX_ROWS, clustered, rows without a visible shift last."""
    norms = np.linalg.norm(shifts, axis=1)
    kept = np.sort(np.argsort(-norms, kind="stable")[:MAX_ROWS])
    largest = np.abs(shifts).max(axis=1)
    visible = largest > _NEGLIGIBLE * max(float(largest.max()), np.finfo(float).tiny)
    moved, still = kept[visible[kept]], kept[~visible[kept]]
    if len(moved) > 2:
        tree = linkage(shifts[moved], method="average", optimal_ordering=True)
        moved = moved[leaves_list(tree)]
    return np.concatenate([moved, still])


def _colour_limit(shifts: np.ndarray) -> tuple[float, bool]:
    """End of the colour scale, and whether some entries lie beyond: one outlier fades the rest."""
    sizes = np.abs(shifts)
    largest = float(sizes.max())
    if largest == 0.0:
        return 1.0, False
    usual = float(np.quantile(sizes[sizes > _NEGLIGIBLE * largest], 0.98))
    return (usual, True) if largest > 1.5 * usual else (largest, False)


def _draw_edges(axes: Axes, shifts: np.ndarray, edges: np.ndarray, limit: float) -> None:
    for dark in (True, False):
        row, column = np.nonzero(edges & ((np.abs(shifts) > 0.6 * limit) == dark))
        axes.scatter(column, row, s=13, color="white" if dark else INK, linewidths=0)


def _label_rows(axes: Axes, names: list[str], n_all: int) -> None:
    axes.set_yticks(range(len(names)), [label(name) for name in names], fontsize=9)
    axes.tick_params(length=0)
    shown = f"perturbation (the {len(names)} of {n_all} with the largest shift)"
    axes.set_ylabel("perturbation" if len(names) == n_all else shown)
    axes.set_yticks(np.arange(1, len(names)) - 0.5, minor=True)
    axes.grid(which="minor", axis="y", color="#eeeeee", linewidth=0.6)
    axes.tick_params(which="minor", length=0)


def _label_latents(axes: Axes, names: list[str], has_edge: np.ndarray, n_rows: int) -> None:
    labels = [label(name, 14) for name in names]
    upright = sum(map(len, labels)) + 2 * len(labels) > 75
    axes.set_xticks(range(len(names)), labels, fontsize=9, rotation=90 if upright else 0)
    axes.set_xlabel("latent (black: has an edge)")
    axes.tick_params(axis="x", labeltop=n_rows > 30)
    for tick, strong in zip(axes.xaxis.get_major_ticks(), has_edge, strict=True):
        tick.label1.set_color(INK if strong else "#9a9a9a")
        tick.label1.set_fontweight("bold" if strong else "normal")
        tick.label2.set(color=tick.label1.get_color(), fontweight=tick.label1.get_fontweight())
    for place in np.flatnonzero(has_edge):
        axes.axvspan(place - 0.5, place + 0.5, facecolor="none", edgecolor="#bbbbbb", lw=0.6)
