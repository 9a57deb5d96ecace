"""How training went: validation ELBO and number of edges against step."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sparseshift.plots.style import (
    INK,
    label,
    message_figure,
    model_colour,
    new_figure,
    open_axes,
    ordered_models,
)

_ELBO = "validation_negative_elbo"
_RUN = ["model", "split", "seed"]
_LINE_STYLES = ("-", "--", "-.", (0, (5, 1, 1, 1, 1, 1)))
_CHANGE = (0, (1, 2))
LineStyle = str | tuple[int, tuple[int, ...]]


def training_curves(history: pd.DataFrame) -> Figure:
    """Draw a line for every run: validation negative ELBO above, number of edges below.

    The ELBO (nats a cell, KL weight 1, lower is better) is shown over the range of the last two
    thirds of the steps and of the last phase, so that the end is legible and what is far above it
    is cut off. Edges are
    inclusion probabilities above 1/2; models that never have one get no line, and the axis is
    logarithmic where models differ by more than a factor of ten. Splits differ in line style.

    Where training has phases, steps count over all of them; lines break where the next phase
    begins, marked by a dotted line in the model's colour, for it is another model that is trained
    from there. A dot marks the weights that were kept.

    Args:
        history: a row an evaluation, with model, split, seed, phase, total_step, best,
            validation_negative_elbo, n_edges.
    """
    history = history.dropna(subset=["total_step"])
    if not np.isfinite(history[_ELBO].astype(float)).any():
        return message_figure("No validation ELBO was recorded.")
    with_edges = history.groupby("model")["n_edges"].transform("max").fillna(0) > 0
    edges = history[with_edges]
    figure = new_figure(5.4 if len(edges) else 3.4)
    heights = [3, 2] if len(edges) else [1]
    panels = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[
        :, 0
    ]
    styles = _split_styles(history)
    _draw_runs(panels[0], history, _ELBO, styles)
    _draw_kept(panels[0], history)
    panels[0].set_ylim(*_final_range(history))
    panels[0].set_ylabel("validation negative ELBO\n(nats a cell)")
    if len(edges):
        _draw_runs(panels[1], edges, "n_edges", styles)
        _scale_edges(panels[1], edges)
        panels[1].set_ylabel("edges\n(count)")
    panels[-1].set_xlabel("gradient step")
    for axes in panels:
        _draw_changes(axes, history)
    models = ordered_models(history["model"])
    handles = [
        Line2D([], [], color=model_colour(m), linewidth=2.5, label=label(m)) for m in models
    ]
    if len(styles) > 1:
        handles += [Line2D([], [], color=INK, ls=s, label=label(k)) for k, s in styles.items()]
    handles.append(
        Line2D([], [], color=INK, marker="o", ls="", markersize=5, label="weights kept")
    )
    if (history["phase"] > 0).any():
        handles.append(Line2D([], [], color=INK, lw=1, ls=_CHANGE, label="next phase begins"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    return figure


def _split_styles(history: pd.DataFrame) -> dict[str, LineStyle]:
    splits = sorted(history["split"].astype(str).unique())
    return {name: _LINE_STYLES[i % len(_LINE_STYLES)] for i, name in enumerate(splits)}


def _draw_runs(
    axes: Axes, history: pd.DataFrame, column: str, styles: dict[str, LineStyle]
) -> None:
    runs = history.groupby([*_RUN, "phase"], dropna=False, sort=True)
    for (model, split, _seed, _phase), run in runs:
        line = run.sort_values("total_step")
        axes.plot(
            line["total_step"].to_numpy(dtype=float),
            line[column].to_numpy(dtype=float, na_value=np.nan),
            color=model_colour(str(model)),
            linestyle=styles[str(split)],
            linewidth=1.6,
            marker="o" if len(line) == 1 else "",
            alpha=0.85,
        )
    open_axes(axes, grid="y")


def _draw_kept(axes: Axes, history: pd.DataFrame) -> None:
    kept = history[history["best"].astype(bool)]
    axes.scatter(
        kept["total_step"].to_numpy(dtype=float),
        kept[_ELBO].to_numpy(dtype=float, na_value=np.nan),
        c=[model_colour(str(model)) for model in kept["model"]],
        s=26,
        edgecolors="white",
        linewidths=0.7,
        zorder=3,
        gid="kept",
    )


def _draw_changes(axes: Axes, history: pd.DataFrame) -> None:
    """A line at the last step of every phase but the last."""
    ends = history.groupby([*_RUN, "phase"], dropna=False)["total_step"].max().reset_index()
    last = ends.groupby(_RUN, dropna=False)["phase"].transform("max")
    earlier = ends[ends["phase"] < last].drop_duplicates(["model", "total_step"])
    for model, step in zip(earlier["model"], earlier["total_step"], strict=True):
        colour = model_colour(str(model))
        axes.axvline(float(step), color=colour, linewidth=1, linestyle=_CHANGE, gid="change")


def _final_range(history: pd.DataFrame) -> tuple[float, float]:
    values = history[_ELBO].astype(float)
    last = history.groupby(_RUN, dropna=False)["phase"].transform("max")
    late = values[
        (history["total_step"] >= history["total_step"].max() / 3) & (history["phase"] == last)
    ]
    late = late[np.isfinite(late)]
    shown = late if len(late) else values[np.isfinite(values)]
    low, high = float(shown.min()), float(shown.max())
    margin = 0.08 * (high - low) or max(1e-3 * abs(low), 1e-3)
    return low - margin, high + margin


def _scale_edges(axes: Axes, edges: pd.DataFrame) -> None:
    last = edges.sort_values("total_step").groupby("model")["n_edges"].last().astype(float)
    if len(last) > 1 and last.max() > 10 * max(last.min(), 1.0):
        lowest, highest = float(edges["n_edges"].min()), float(edges["n_edges"].max())
        axes.set_yscale("symlog", linthresh=1.0)
        axes.yaxis.set_major_formatter(lambda value, _place: f"{value:,.0f}")
        axes.set_ylim(lowest / 2 if lowest > 1 else 0.0, 2 * highest)
    else:
        axes.set_ylim(bottom=0)
