"""Figures of a simulation study: recovery by model, and one metric against another."""

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from sparseshift.plots.metric_comparison import metric_comparison
from sparseshift.plots.metric_names import metric_name
from sparseshift.plots.style import (
    label,
    message_figure,
    model_colour,
    new_figure,
    open_axes,
    ordered_models,
)

_RECOVERY = ("mcc_pearson", "graph_f1")


def recovery_by_model(metrics: pd.DataFrame) -> Figure:
    """Draw MCC and F1 of each model in one condition: a point a data seed, model seeds averaged.

    Args:
        metrics: tidy, with data_seed, model, seed, metric, subset, value.
    """
    shown = metrics[metrics["metric"].isin(_RECOVERY) & (metrics["subset"] == "trained")]
    means = shown.groupby(["model", "metric", "subset", "data_seed"], sort=False)["value"].mean()
    points = means.reset_index().rename(columns={"data_seed": "seed"})
    return metric_comparison(points.assign(lower=float("nan"), upper=float("nan")))


def metric_scatter(
    metrics: pd.DataFrame, x: str, y: str, *, log_x: bool = False, subset_y: str = "trained"
) -> Figure:
    """Draw one metric of each fit against another, models in colour; fits without one are left out.

    Args:
        metrics: tidy, with condition, data_seed, model, seed, metric, subset, value.
        x: metric on the x axis, of whatever subset it has.
        y: metric on the y axis.
        log_x: whether the x axis is logarithmic.
        subset_y: subset of y.
    """
    fit = ["condition", "data_seed", "model", "seed"]
    ends = {
        name: of.set_index(fit)["value"]
        for name, of in (
            ("x", metrics[metrics["metric"] == x]),
            ("y", metrics[(metrics["metric"] == y) & (metrics["subset"] == subset_y)]),
        )
    }
    points = pd.DataFrame(ends).dropna().reset_index()
    if points.empty:
        return message_figure(f"No fit has both {x} and {y}.")
    figure = new_figure(3.6)
    axes = figure.subplots()
    for model, colour in _colours(ordered_models(points["model"])).items():
        own = points[points["model"] == model]
        axes.scatter(own["x"], own["y"], s=26, alpha=0.85, color=colour, label=label(model, 20))
    if log_x:
        axes.set_xscale("log")
        # plain numbers: within one power of ten the default would write 6 x 10^0
        axes.xaxis.set_major_formatter(LogFormatter())
        axes.xaxis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.5)))
    axes.set_xlabel(_axis(x))
    axes.set_ylabel(_axis(y))
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    open_axes(axes, grid="both")
    return figure


def _colours(models: list[str]) -> dict[str, str]:
    """Each model's own colour; where two would have the same, as variants may, a scale over all."""
    own = [model_colour(model) for model in models]
    if len(set(own)) < len(own):
        scale = colormaps["turbo"](np.linspace(0.05, 0.95, len(models)))
        own = [to_hex(colour) for colour in scale]
    return dict(zip(models, own, strict=True))


def _axis(metric: str) -> str:
    name = metric_name(metric)
    return f"{name.words} ({name.unit})" if name.unit else name.words
