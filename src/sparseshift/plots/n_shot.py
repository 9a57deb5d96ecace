"""How few cells are enough: likelihood of held-out perturbations after adapting to n of their cells."""

import re

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter

from sparseshift.plots.style import (
    label,
    message_figure,
    model_colour,
    new_figure,
    open_axes,
    ordered_models,
)

_LOSS = re.compile(r"(inll_macro_k\d+|nll_macro)")
_SUBSET = re.compile(r"n_shot_(\d+)")


def n_shot_curve(table: pd.DataFrame) -> Figure:
    """Draw the loss against the number of support cells, a panel a split, a line a model.

    Seeds are averaged. The bars are the standard deviation over draws of the support, where there is
    one. A model that adapts nothing has a flat line.

    Args:
        table: tidy: rows `inll_macro_kK` or `nll_macro`, and `draw_sd_...`, with subset `n_shot_N`.
    """
    size = table["subset"].astype(str).str.extract(_SUBSET, expand=False)
    table = table.assign(size=pd.to_numeric(size)).dropna(subset=["size"])
    losses = table[table["metric"].astype(str).str.fullmatch(_LOSS)]
    if losses.empty:
        return message_figure("No n-shot curve: nothing is held out, or supports are too small.")
    splits = list(losses["split"].unique())
    figure = new_figure(3.4 * len(splits))
    panels = figure.subplots(len(splits), 1, squeeze=False)[:, 0]
    for axes, split in zip(panels, splits, strict=True):
        axes.set_title(f"split {label(split)}", loc="left", fontsize=10.5)
        _draw(axes, table[table["split"] == split])
    return figure


def _draw(axes: Axes, table: pd.DataFrame) -> None:
    table = table.astype({"value": float})
    name = table["metric"].astype(str)
    losses, spreads = table[name.str.fullmatch(_LOSS)], table[name.str.startswith("draw_sd_")]
    sizes = np.sort(losses["size"].unique())
    models = ordered_models(losses["model"])
    for i, model in enumerate(models):
        own = losses[losses["model"] == model].groupby("size")["value"].mean()
        spread = spreads[spreads["model"] == model].groupby("size")["value"].mean()
        # side by side, so that bars of equal sizes do not cover each other
        place = own.index.to_numpy() * 1.02 ** (i - (len(models) - 1) / 2)
        axes.errorbar(
            place,
            own.to_numpy(),
            yerr=spread.reindex(own.index).fillna(0.0).to_numpy(),
            marker="o",
            markersize=4,
            linewidth=1.4,
            linestyle="--" if model.startswith("nb_") else "-",
            color=model_colour(model),
            label=label(model),
        )
    axes.set_xscale("log")
    axes.set_xticks(sizes)
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("support cells of a perturbation")
    axes.set_ylabel("nats a cell  ← lower is better")
    open_axes(axes, grid="both")
    axes.legend(frameon=False, fontsize=8.5, loc="center left", bbox_to_anchor=(1.0, 0.5))
