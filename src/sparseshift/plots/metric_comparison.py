"""Models side by side: a panel a metric, a point a seed."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sparseshift.plots.metric_names import metric_name, ordered_metrics
from sparseshift.plots.style import (
    INK,
    label,
    message_figure,
    model_colour,
    new_figure,
    open_axes,
    ordered_models,
)
from sparseshift.plots.tidy import keys_that_vary


def metric_comparison(metrics: pd.DataFrame) -> Figure:
    """Draw every metric of one screen: models on the y axis, the value on the x axis.

    A point is a seed, with its interval where it has one; the upright mark is the mean over the
    seeds of a model that has several. Units and the better direction stand on the axis. Missing
    values are left out, and models without any value of a metric are left out of its panel. A
    metric that was taken on several splits or subsets gets a panel for each.

    Args:
        metrics: tidy, with model, split, seed, metric, subset, value, lower, upper.
    """
    metrics = metrics[metrics["value"].notna()]
    if metrics.empty:
        return message_figure("No metric has a value.")
    facets = ["metric", *keys_that_vary(metrics)]
    place = {metric: i for i, metric in enumerate(ordered_metrics(metrics["metric"]))}
    groups = list(metrics.groupby(facets, sort=False))
    groups.sort(key=lambda group: place[str(group[0][0])])
    n_models = [group["model"].nunique() for _, group in groups]
    figure = new_figure(sum(0.8 + 0.3 * n for n in n_models))
    panels = figure.subplots(len(groups), 1, squeeze=False, height_ratios=n_models)[:, 0]
    for axes, (names, group) in zip(panels, groups, strict=True):
        metric = metric_name(str(names[0]))
        heading = " · ".join([metric.words, *map(label, names[1:])])
        axes.set_title(heading, loc="left", fontsize=10.5)
        axes.set_xlabel(metric.axis)
        _draw_models(axes, group)
    return figure


def _draw_models(axes: Axes, group: pd.DataFrame) -> None:
    models = ordered_models(group["model"])
    for row, model in enumerate(models):
        own = group[group["model"] == model].sort_values("seed")
        value = own["value"].to_numpy(dtype=float)
        spread = 0.5 * (np.arange(len(own)) - (len(own) - 1) / 2) / max(len(own), 4)
        low = value - own["lower"].to_numpy(dtype=float, na_value=np.nan)
        high = own["upper"].to_numpy(dtype=float, na_value=np.nan) - value
        whole = np.isfinite(low) & np.isfinite(high)
        errors = np.clip(np.where(whole, [low, high], 0.0), 0.0, None)
        axes.errorbar(
            value,
            row + spread,
            xerr=errors,
            fmt="o",
            color=model_colour(model),
            markersize=5,
            elinewidth=1.4,
            alpha=0.9,
            gid=f"seeds:{model}",
        )
        if len(own) > 1:
            axes.plot(
                [value.mean()] * 2,
                [row - 0.34, row + 0.34],
                color=INK,
                linewidth=2.2,
                gid=f"mean:{model}",
            )
    axes.set_yticks(range(len(models)), [label(model, 20) for model in models])
    axes.set_ylim(len(models) - 0.5, -0.5)
    axes.margins(x=0.06)
    axes.locator_params(axis="x", nbins=6)
    open_axes(axes, grid="x")
