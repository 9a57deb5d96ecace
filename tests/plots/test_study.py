"""Figures of a simulation study."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from sparseshift.plots.graph_comparison import graph_comparison
from sparseshift.plots.study import metric_scatter, recovery_by_model
from sparseshift.plots.style import model_colour


@pytest.fixture
def metrics() -> pd.DataFrame:
    rows = []
    for data in (0, 1):
        for seed in (0, 1):
            for model, mcc in (("vae", 0.4), ("svae_plus", 0.9)):
                fit = {"condition": "paper", "data_seed": data, "model": model, "seed": seed}
                value = mcc + 0.01 * data + 0.02 * seed
                rows.append({**fit, "metric": "mcc_pearson", "subset": "trained", "value": value})
                rows.append({**fit, "metric": "udr", "subset": "trained", "value": value / 2})
                if model == "svae_plus":
                    rows.append({**fit, "metric": "graph_f1", "subset": "trained", "value": 0.8})
    return pd.DataFrame(rows)


def test_recovery_has_a_point_a_data_seed(metrics: pd.DataFrame) -> None:
    panels = recovery_by_model(metrics).axes
    assert len(panels) == 2
    (points,) = [line for line in panels[0].lines if line.get_gid() == "seeds:svae_plus"]
    drawn = np.sort(np.asarray(points.get_xdata(), dtype=float))
    np.testing.assert_allclose(drawn, [0.91, 0.92])
    assert [t.get_text() for t in panels[1].get_yticklabels()] == [r"svae_plus"]


def test_scatter_has_a_point_a_fit_and_leaves_out_what_has_one_metric(
    metrics: pd.DataFrame,
) -> None:
    (axes,) = metric_scatter(metrics, "udr", "mcc_pearson").axes
    assert [len(np.asarray(c.get_offsets())) for c in axes.collections] == [4, 4]
    (only,) = metric_scatter(metrics, "graph_f1", "mcc_pearson", log_x=True).axes
    assert only.get_xscale() == "log"
    (points,) = only.collections
    assert to_hex(np.asarray(points.get_facecolor())[0]) == model_colour("svae_plus")
    nothing = metric_scatter(metrics, "no_such", "mcc_pearson")
    assert "No fit has both no_such and mcc_pearson" in nothing.texts[0].get_text()


def test_a_logarithmic_axis_has_plain_numbers(metrics: pd.DataFrame) -> None:
    seconds = metrics[metrics["metric"] == "udr"].assign(metric="cpu_seconds")
    seconds["value"] = np.linspace(5.0, 12.0, len(seconds))
    figure = metric_scatter(
        pd.concat([metrics, seconds]), "cpu_seconds", "mcc_pearson", log_x=True
    )
    figure.draw_without_rendering()
    (axes,) = figure.axes
    shown = [t.get_text() for t in axes.get_xticklabels(which="both") if t.get_text()]
    assert {"6", "10"} <= set(shown)


def test_variants_that_would_share_a_colour_do_not(metrics: pd.DataFrame) -> None:
    names = [f"alpha_{i}" for i in range(9)]
    variants = pd.concat([metrics[metrics["model"] == "vae"].assign(model=name) for name in names])
    (axes,) = metric_scatter(variants, "udr", "mcc_pearson").axes
    colours = {to_hex(np.asarray(c.get_facecolor())[0]) for c in axes.collections}
    assert len(colours) == len(names)


def test_graphs_are_compared_edge_by_edge() -> None:
    names, latents = ["a", "b", "c"], ["true z0", "true z1"]
    shifts = pd.DataFrame([[5.0, 0.0], [0.0, -5.0], [0.0, 0.0]], names, latents)
    inclusion = pd.DataFrame([[0.9, 0.6], [0.0, 0.4], [0.0, 0.2]], names, latents)
    figure = graph_comparison(shifts, inclusion)
    (axes,) = figure.axes
    legend = axes.get_legend()
    assert legend is not None
    words = {text.get_text() for text in legend.get_texts()}
    assert words == {"found (1)", "missed (1)", "not there (1)"}
    drawn = np.asarray(axes.images[0].get_array())
    assert sorted(drawn.ravel().tolist()) == [0, 0, 0, 1, 2, 3]
    empty = graph_comparison(shifts.iloc[:0], inclusion.iloc[:0])
    assert "no perturbations" in empty.texts[0].get_text()
