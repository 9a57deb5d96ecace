"""What a latent means: the genes that change most when it is shifted."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sparseshift.plots.style import (
    INK,
    LOWERED,
    RAISED,
    label,
    message_figure,
    new_figure,
    open_axes,
)

MAX_LATENTS = 8
MAX_GENES = 8


def latent_genes(genes: pd.DataFrame) -> Figure:
    """Draw the top genes of up to eight latents, those with the most edges first.

    A bar is the log2 fold change of a gene's mean expression as the latent is shifted, red
    upwards, blue downwards; the genes of a latent are the eight that change most, the highest on
    top. All panels share the axis. Latents without an edge are left out.

    Args:
        genes: a row a latent and gene, with latent, gene, log2_fold_change, edges (number of
            edges of the latent).
    """
    genes = genes[np.isfinite(genes["log2_fold_change"].astype(float)) & (genes["edges"] > 0)]
    if genes.empty:
        return message_figure("No latent has an edge.")
    edges = genes.groupby("latent", sort=False)["edges"].first()
    latents = edges.sort_values(ascending=False, kind="stable").index[:MAX_LATENTS].tolist()
    n_columns = min(2, len(latents))
    n_rows = -(-len(latents) // n_columns)
    tops = [_top_genes(genes[genes["latent"] == latent]) for latent in latents]
    tallest = max(map(len, tops))
    figure = new_figure(n_rows * (0.55 + 0.21 * tallest) + 0.5)
    panels = figure.subplots(n_rows, n_columns, sharex=True, squeeze=False)
    for axes, latent, top in zip(panels.ravel(), latents, tops, strict=False):
        _draw_bars(axes, top)
        count = int(edges[latent])
        text = f"{label(latent)} · {count} edge{'s' if count > 1 else ''}"
        axes.set_title(text, loc="left", fontsize=10.5)
    for axes in panels.ravel()[len(latents) :]:
        axes.remove()
    for axes in panels.ravel()[max(len(latents) - n_columns, 0) : len(latents)]:
        axes.tick_params(labelbottom=True)
    figure.supxlabel("log2 fold change", fontsize=10)
    return figure


def _top_genes(genes: pd.DataFrame) -> pd.DataFrame:
    order = genes["log2_fold_change"].abs().sort_values(ascending=False, kind="stable").index
    return genes.loc[order[:MAX_GENES]].sort_values("log2_fold_change", ascending=False)


def _draw_bars(axes: Axes, top: pd.DataFrame) -> None:
    change = top["log2_fold_change"].to_numpy(dtype=float)
    colours = [RAISED if value > 0 else LOWERED for value in change]
    axes.barh(np.arange(len(top)), change, color=colours, height=0.7)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_yticks(range(len(top)), [label(gene, 16) for gene in top["gene"]], fontsize=9.5)
    axes.set_ylim(len(top) - 0.4, -0.6)
    axes.locator_params(axis="x", nbins=5)
    open_axes(axes, grid="x")
