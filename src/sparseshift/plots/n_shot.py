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

SIMPLE = "nb_"
_LOSS = re.compile(r"(inll_macro_k\d+|nll_macro)")
_SUBSET = re.compile(r"n_shot_(\d+)")


def n_shot_curve(table: pd.DataFrame) -> Figure:
    """Draw the loss against the number of support cells, a row a split, a line a model.

    On the right are the models alone, whose differences are much smaller than those to independent genes.

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
    figure = new_figure(0.6 + 2.5 * len(splits))
    panels = figure.subplots(len(splits), 2, squeeze=False, sharex=True)
    is_model = ~table["model"].astype(str).str.startswith(SIMPLE)
    for (everything, closely), split in zip(panels, splits, strict=True):
        own = table["split"] == split
        everything.set_title(f"split {label(split)}", loc="left", fontsize=10.5)
        everything.set_ylabel("nats a cell\n← lower is better")
        _draw(everything, table[own])
        closely.set_title("models only", loc="left", fontsize=10.5)
        _draw(closely, table[own & is_model])
    for axes in panels[-1]:
        axes.set_xlabel("support cells")
    handles, names = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure


def _draw(axes: Axes, table: pd.DataFrame) -> None:
    table = table.astype({"value": float})
    name = table["metric"].astype(str)
    losses, spreads = table[name.str.fullmatch(_LOSS)], table[name.str.startswith("draw_sd_")]
    if losses.empty:
        axes.set_axis_off()
        return
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
            linestyle="--" if model.startswith(SIMPLE) else "-",
            color=model_colour(model),
            label=label(model),
        )
    axes.set_xscale("log")
    axes.set_xticks(sizes)
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    open_axes(axes, grid="both")
