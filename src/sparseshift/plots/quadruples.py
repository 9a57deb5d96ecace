"""Whether four perturbations share latents: their mean cosine among that of all quadruples."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sparseshift.plots.style import (
    INK,
    label,
    message_figure,
    model_colour,
    new_figure,
    open_axes,
    ordered_models,
)


def quadruples(summary: Mapping[str, Any]) -> Figure:
    """Draw, for each model, the mean pairwise cosine of all quadruples, and where one lies.

    The cosine (no unit, -1 to 1) is that of two perturbations' shifts, averaged over the six pairs
    of a quadruple. Bars are the share of all quadruples in a bin (per cent; each panel to its own
    height), the upright line is the quadruple asked about, with the share of quadruples that are
    at least as alike.

    Args:
        summary: {"genes": [...], "models": {name: {"cosine": float, "quantile": share of all
            quadruples at least as alike, "histogram": {"edges": [...], "counts": [...]}}}}.
    """
    models = summary["models"]
    if not models:
        return message_figure("No model has shifts to compare.")
    names = ordered_models(models)
    figure = new_figure(1.35 * len(names) + 0.75)
    panels = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
    for axes, name in zip(panels, names, strict=True):
        _draw_model(axes, name, models[name])
    genes = ", ".join(label(gene, 14) for gene in summary["genes"])
    panels[-1].set_xlabel(f"mean pairwise cosine of shifts; line: {genes}")
    figure.supylabel("quadruples (%)", fontsize=10)
    return figure


def _draw_model(axes: Axes, name: str, model: Mapping[str, Any]) -> None:
    bins = np.asarray(model["histogram"]["edges"], dtype=float)
    counts = np.asarray(model["histogram"]["counts"], dtype=float)
    share = 100 * counts / max(counts.sum(), 1.0)
    axes.bar(bins[:-1], share, np.diff(bins), align="edge", color=model_colour(name), alpha=0.55)
    axes.set_title(label(name), loc="left", fontsize=10.5)
    axes.set_title(_position(model), loc="right", fontsize=10)
    if np.isfinite(model["cosine"]):
        axes.axvline(model["cosine"], color=INK, linewidth=2.2)
    axes.set_xlim(bins[0], bins[-1])
    axes.locator_params(axis="x", nbins=5)
    axes.locator_params(axis="y", nbins=3)
    open_axes(axes)


def _position(model: Mapping[str, Any]) -> str:
    if not np.isfinite(model["cosine"]):
        return "no shift, no cosine"
    share = 100 * float(model["quantile"])
    if not np.isfinite(share):
        return f"cosine {model['cosine']:.2f}"
    shown = "< 0.1" if share < 0.1 else f"{share:.1f}" if share < 10 else f"{share:.0f}"
    return f"cosine {model['cosine']:.2f}; {shown} % are at least as alike"
