"""How few cells are enough: held-out perturbations after adapting to n of their cells."""

import re

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
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
WITHOUT_MODEL = (
    "no_change",
    "mean_effect",
    "ridge",
    "support_mean",
    "support_mean_shrunk",
    "support_mean_to_control",
)
# flat, and where they are not the mean effect itself `ridge` says as much; their numbers are in the tables
_NOT_DRAWN = ("additive", "low_rank_linear", "matching_mean")
_LOSS = re.compile(r"(inll_macro_k\d+|nll_macro)")
_EFFECTS = {
    "effects": re.compile(r"ate_pearson_r"),
    "effects less the mean effect": re.compile(r"ate_delta_r"),
}
_SUBSET = re.compile(r"^n_shot_(\d+)$")  # not those of one perturbation


def n_shot_curve(table: pd.DataFrame) -> Figure:
    """Draw scores against the number of support cells, two rows a split, a line a model.

    Above the loss of all, then that of the models alone, whose differences are much smaller than those
    to independent genes; below the correlation of predicted effects, whole and less the mean effect, beside
    the support mean.

    Seeds are averaged. The bars are the standard deviation over draws of the support, where there is
    one. A model that adapts nothing has a flat line.

    Args:
        table: tidy: rows `inll_macro_kK`, `nll_macro`, `ate_pearson_r` or `ate_delta_r`, and `draw_sd_...`, with subset
            `n_shot_N`.
    """
    table = table[~table["model"].isin(_NOT_DRAWN)]
    size = table["subset"].astype(str).str.extract(_SUBSET, expand=False)
    table = table.assign(size=pd.to_numeric(size)).dropna(subset=["size"])
    metric = table["metric"].astype(str)
    if not metric.str.fullmatch(_LOSS).any():
        return message_figure("No n-shot curve: nothing is held out, or supports are too small.")
    splits = list(table.loc[metric.str.fullmatch(_LOSS), "split"].unique())
    figure = new_figure(0.8 + 4.4 * len(splits))
    panels = figure.subplots(2 * len(splits), 2, squeeze=False, sharex=True)
    is_model = ~table["model"].astype(str).str.startswith(SIMPLE)
    for (everything, closely), effects, split in zip(
        panels[::2], panels[1::2], splits, strict=True
    ):
        own = table["split"] == split
        everything.set_title(f"split {label(split)}: I-NLL", loc="left", fontsize=10.5)
        everything.set_ylabel("nats a cell\n← lower is better")
        _draw(everything, table[own], _LOSS)
        closely.set_title("models only", loc="left", fontsize=10.5)
        _draw(closely, table[own & is_model], _LOSS)
        effects[0].set_ylabel("Pearson r\nhigher is better →")
        for axes, (words, effect) in zip(effects, _EFFECTS.items(), strict=True):
            axes.set_title(words, loc="left", fontsize=10.5)
            _draw(axes, table[own], effect)
    for axes in panels[-1]:
        axes.set_xlabel("support cells")
    handles: dict[str, Artist] = {}
    for axes in panels[:2].flat:
        handles |= dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
    figure.legend(
        list(handles.values()), list(handles), loc="outside lower center", ncols=4, frameon=False, fontsize=9
    )  # fmt: skip
    return figure


def _draw(axes: Axes, table: pd.DataFrame, metric: re.Pattern[str]) -> None:
    table = table.astype({"value": float})
    name = table["metric"].astype(str)
    is_spread = name.str.startswith("draw_sd_")
    is_own = name.str.removeprefix("draw_sd_").str.fullmatch(metric)
    scores, spreads = table[is_own & ~is_spread], table[is_own & is_spread]
    if scores.empty:
        axes.set_axis_off()
        return
    sizes = np.sort(scores["size"].unique())
    models = ordered_models(scores["model"])
    for i, model in enumerate(models):
        own = scores[scores["model"] == model].groupby("size")["value"].mean()
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
            linestyle="--" if model.startswith(SIMPLE) or model in WITHOUT_MODEL else "-",
            color=model_colour(model),
            label=label(model),
        )
    axes.set_xscale("log")
    axes.set_xticks(sizes)
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    open_axes(axes, grid="both")
