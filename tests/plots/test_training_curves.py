import io

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from sparseshift.plots.style import model_colour
from sparseshift.plots.training_curves import training_curves


def test_a_line_a_seed_in_the_colour_of_its_model(history: pd.DataFrame) -> None:
    elbo, edges = training_curves(history).axes
    assert elbo.get_ylabel() == "validation negative ELBO\n(nats a cell)"
    assert edges.get_ylabel() == "edges\n(count)"
    assert edges.get_xlabel() == "gradient step"
    colours = [line.get_color() for line in elbo.lines]
    for model in ("vae", "ivae", "svae_plus"):
        assert colours.count(model_colour(model)) == 3


def test_a_model_without_edges_has_no_line_below(history: pd.DataFrame) -> None:
    _, edges = training_curves(history).axes
    assert {line.get_color() for line in edges.lines} == {
        model_colour("ivae"),
        model_colour("svae_plus"),
    }
    assert len(edges.lines) == 6
    assert len(training_curves(history[history["model"] == "vae"]).axes) == 1


def test_the_end_fills_the_panel(history: pd.DataFrame) -> None:
    elbo = training_curves(history).axes[0]
    low, high = elbo.get_ylim()
    last = history[history["total_step"] >= 334]["validation_negative_elbo"]
    assert low < last.min()
    assert last.max() < high < last.max() + 1
    assert high < history["validation_negative_elbo"].max()


def test_edges_are_logarithmic_only_where_models_are_far_apart(history: pd.DataFrame) -> None:
    assert training_curves(history).axes[1].get_yscale() == "linear"
    history.loc[history["model"] == "ivae", "n_edges"] = 2500
    assert training_curves(history).axes[1].get_yscale() == "symlog"


def test_splits_differ_in_line_style(history: pd.DataFrame) -> None:
    both = pd.concat([history, history.assign(split="held_out_1")])
    figure = training_curves(both)
    assert {line.get_linestyle() for line in figure.axes[0].lines} == {"-", "--"}
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["vae", "ivae", "svae_plus", "held_out_0", "held_out_1", "weights kept"]


def kept_points(axes: Axes) -> list[tuple[float, float]]:
    (dots,) = [c for c in axes.collections if c.get_gid() == "kept"]
    return sorted((float(x), float(y)) for x, y in np.asarray(dots.get_offsets()))


def test_the_weights_that_were_kept_are_marked(history: pd.DataFrame) -> None:
    best = history[history["best"]][["total_step", "validation_negative_elbo"]]
    expected = sorted(tuple(row) for row in best.to_numpy().tolist())
    assert kept_points(training_curves(history).axes[0]) == expected


def in_phases(history: pd.DataFrame) -> pd.DataFrame:
    """Those of svae_plus have a second phase after 400 steps, without edges before."""
    sparse = history["model"] == "svae_plus"
    late = sparse & (history["total_step"] > 400)
    edges = history["n_edges"].where(~sparse | late, 0)
    return history.assign(phase=late.astype(int), n_edges=edges)


def test_lines_break_where_the_next_phase_begins(history: pd.DataFrame) -> None:
    phased = in_phases(history)
    figure = training_curves(phased)
    colour = model_colour("svae_plus")
    for axes in figure.axes:
        changes = [line for line in axes.lines if line.get_gid() == "change"]
        assert [(np.asarray(line.get_xdata()).tolist(), line.get_color()) for line in changes] == [
            ([400.0, 400.0], colour)
        ]
        runs = [np.asarray(line.get_xdata()) for line in axes.lines if line not in changes]
        assert len(runs) == 3 * (4 if axes is figure.axes[0] else 3)
        # a line never runs backwards, and none crosses the change but those without one
        assert all((np.diff(steps) > 0).all() for steps in runs)
        crossing = [steps for steps in runs if steps[0] <= 400 < steps[-1]]
        assert len(crossing) == 3 * (2 if axes is figure.axes[0] else 1)
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts[-2:] == ["weights kept", "next phase begins"]
    assert len(kept_points(figure.axes[0])) == 9


def test_awkward_histories_are_drawn(history: pd.DataFrame) -> None:
    one = history[(history["seed"] == 0) & (history["total_step"] == 50)]
    gaps = history.assign(
        n_edges=history["n_edges"].where(history["model"] != "vae").astype("Int64")
    )
    gaps.loc[3:6, "validation_negative_elbo"] = np.nan
    gaps["seed"] = pd.array([None] * len(gaps), dtype="Int64")
    renamed = history.assign(model="a_" + history["model"] * 20)
    infinite = history.assign(validation_negative_elbo=np.inf)
    missing = history.assign(validation_negative_elbo=np.nan)
    for frame in (one, gaps, renamed, infinite, missing, history.iloc[:0]):
        training_curves(frame).savefig(io.BytesIO(), format="png", dpi=40)
    assert "No validation ELBO" in training_curves(missing).texts[0].get_text()
    assert training_curves(one).axes[0].lines[0].get_marker() == "o"
