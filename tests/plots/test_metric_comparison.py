import io

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from sparseshift.plots.metric_comparison import metric_comparison
from sparseshift.plots.style import INK, model_colour


def points(axes: Axes) -> dict[str, np.ndarray]:
    return {
        str(line.get_gid()).removeprefix("seeds:"): np.asarray(line.get_xdata())
        for line in axes.lines
        if str(line.get_gid()).startswith("seeds:")
    }


def model_names(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.get_yticklabels()]


def test_a_panel_a_metric_says_unit_and_direction(metrics: pd.DataFrame) -> None:
    nll, r, elbo = metric_comparison(metrics).axes
    assert nll.get_title(loc="left") == "I-NLL, mean of perturbations, 100 particles"
    assert nll.get_xlabel() == elbo.get_xlabel() == "nats a cell   ← lower is better"
    assert r.get_xlabel() == "Pearson r over genes   higher is better →"


def test_a_point_a_seed_and_a_mark_at_their_mean(metrics: pd.DataFrame) -> None:
    nll, r, _ = metric_comparison(metrics).axes
    np.testing.assert_allclose(points(nll)["vae"], [268.9, 269.1, 269.3])
    assert len(points(r)["mean_effect"]) == 1
    marks = {line.get_gid(): line for line in nll.lines if line.get_color() == INK}
    np.testing.assert_allclose(np.asarray(marks["mean:vae"].get_xdata()), 269.1)
    assert {line.get_gid() for line in r.lines if line.get_color() == INK} == {
        "mean:vae",
        "mean:ivae",
        "mean:svae_plus",
    }


def test_models_have_their_order_and_colour(metrics: pd.DataFrame) -> None:
    nll, r, _ = metric_comparison(metrics).axes
    assert model_names(nll) == ["vae", "ivae", "svae_plus"]
    assert model_names(r) == ["mean_effect", "support_mean_shrunk", "vae", "ivae", "svae_plus"]
    assert r.yaxis_inverted()
    for axes in (nll, r):
        for line in axes.lines:
            if (gid := str(line.get_gid())).startswith("seeds:"):
                assert line.get_color() == model_colour(gid.removeprefix("seeds:"))


def test_intervals_reach_from_lower_to_upper(metrics: pd.DataFrame) -> None:
    axes = metric_comparison(metrics).axes[0]
    first = axes.containers[0].lines[2][0].get_segments()[0]  # type: ignore[attr-defined]
    np.testing.assert_allclose(first[:, 0], [268.9 - 1.5, 268.9 + 1.3])


def test_missing_values_are_left_out(metrics: pd.DataFrame) -> None:
    metrics.loc[(metrics["model"] == "vae") & (metrics["seed"] == 1), "value"] = np.nan
    metrics.loc[metrics["model"] == "ivae", "value"] = np.nan
    nll = metric_comparison(metrics).axes[0]
    assert {name: len(x) for name, x in points(nll).items()} == {"vae": 2, "svae_plus": 3}


def test_a_panel_for_each_split_of_a_metric(metrics: pd.DataFrame) -> None:
    both = pd.concat([metrics, metrics.assign(split="held_out_1")])
    titles = [axes.get_title(loc="left") for axes in metric_comparison(both).axes]
    assert len(titles) == 6
    assert titles[0] == "I-NLL, mean of perturbations, 100 particles · held_out_0"


def test_awkward_metrics_are_drawn(metrics: pd.DataFrame) -> None:
    one = metrics[(metrics["seed"] == 0) & (metrics["metric"] == "ate_pearson_r")]
    outside = metrics.assign(lower=metrics["value"] + 1, upper=metrics["value"] - 1)
    renamed = metrics.assign(model="a_$" + metrics["model"] * 20, metric="a_metric_of_mine" * 4)
    for frame in (one, outside, renamed, metrics.assign(lower=np.nan)):
        metric_comparison(frame).savefig(io.BytesIO(), format="png", dpi=40)
    for nothing in (metrics.iloc[:0], metrics.assign(value=np.nan)):
        assert metric_comparison(nothing).texts[0].get_text() == "No metric has a value."
