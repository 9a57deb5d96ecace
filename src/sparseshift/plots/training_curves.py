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
_LINE_STYLES = ("-", "--", ":", "-.")


def training_curves(history: pd.DataFrame) -> Figure:
    """Draw a line for every run: validation negative ELBO above, number of edges below.

    The ELBO (nats a cell, KL weight 1, lower is better) is shown over the range of the last two
    thirds of the steps, so that the end is legible and the fall at the start is cut off. Edges are
    inclusion probabilities above 1/2; models that never have one get no line, and the axis is
    logarithmic where models differ by more than a factor of ten. Splits differ in line style.

    Args:
        history: a row an evaluation, with model, split, seed, step, validation_negative_elbo,
            n_edges.
    """
    history = history.dropna(subset=["step"])
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
    panels[0].set_ylim(*_final_range(history))
    panels[0].set_ylabel("validation negative ELBO\n(nats a cell)")
    if len(edges):
        _draw_runs(panels[1], edges, "n_edges", styles)
        _scale_edges(panels[1], edges)
        panels[1].set_ylabel("edges\n(count)")
    panels[-1].set_xlabel("gradient step")
    models = ordered_models(history["model"])
    handles = [
        Line2D([], [], color=model_colour(m), linewidth=2.5, label=label(m)) for m in models
    ]
    if len(styles) > 1:
        handles += [Line2D([], [], color=INK, ls=s, label=label(k)) for k, s in styles.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    return figure


def _split_styles(history: pd.DataFrame) -> dict[str, str]:
    splits = sorted(history["split"].astype(str).unique())
    return {name: _LINE_STYLES[i % len(_LINE_STYLES)] for i, name in enumerate(splits)}


def _draw_runs(axes: Axes, history: pd.DataFrame, column: str, styles: dict[str, str]) -> None:
    runs = history.groupby(["model", "split", "seed"], dropna=False, sort=True)
    for (model, split, _seed), run in runs:
        line = run.sort_values("step")
        axes.plot(
            line["step"].to_numpy(dtype=float),
            line[column].to_numpy(dtype=float, na_value=np.nan),
            color=model_colour(str(model)),
            linestyle=styles[str(split)],
            linewidth=1.6,
            marker="o" if len(line) == 1 else "",
            alpha=0.85,
        )
    open_axes(axes, grid="y")


def _final_range(history: pd.DataFrame) -> tuple[float, float]:
    values = history[_ELBO].astype(float)
    late = values[history["step"] >= history["step"].max() / 3]
    late = late[np.isfinite(late)]
    shown = late if len(late) else values[np.isfinite(values)]
    low, high = float(shown.min()), float(shown.max())
    margin = 0.08 * (high - low) or max(1e-3 * abs(low), 1e-3)
    return low - margin, high + margin


def _scale_edges(axes: Axes, edges: pd.DataFrame) -> None:
    last = edges.sort_values("step").groupby("model")["n_edges"].last().astype(float)
    if len(last) > 1 and last.max() > 10 * max(last.min(), 1.0):
        lowest, highest = float(edges["n_edges"].min()), float(edges["n_edges"].max())
        axes.set_yscale("symlog", linthresh=1.0)
        axes.yaxis.set_major_formatter(lambda value, _place: f"{value:,.0f}")
        axes.set_ylim(lowest / 2 if lowest > 1 else 0.0, 2 * highest)
    else:
        axes.set_ylim(bottom=0)
