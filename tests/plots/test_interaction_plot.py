import io

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sparseshift.plots.interaction import MAX_ROWS, MAX_STRONGEST, interaction

KINDS = ["synergistic", "buffering", "dominated", "reversed", "additive", "not resolvable"]


def rows(n_doubles: int, n_latents: int, kind: str = "not resolvable") -> pd.DataFrame:
    rng = np.random.default_rng(0)
    n = n_doubles * n_latents
    a, b, extra = rng.normal(size=(3, n))
    return pd.DataFrame(
        {
            "perturbation": np.repeat([f"A{i}+B{i}" for i in range(n_doubles)], n_latents),
            "latent": np.tile([f"z{j}" for j in range(n_latents)], n_doubles),
            "a": a,
            "b": b,
            "expected": a + b,
            "observed": a + b + extra,
            "interaction": extra,
            "standard_error": 0.1,
            "lower": extra - 0.2,
            "upper": extra + 0.2,
            "q_value": rng.random(n),
            "kind": kind,
        }
    )


@pytest.fixture
def found() -> pd.DataFrame:
    """Two doubles of three latents, every kind once."""
    frame = rows(2, 3)
    frame["kind"] = KINDS
    frame["q_value"] = [0.03, 0.001, 0.02, 0.01, 0.6, 0.2]
    return frame


def matrix(figure: Figure) -> Axes:
    return next(axes for axes in figure.axes if axes.images)


def names(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.get_yticklabels()]


def test_colour_is_the_interaction_and_a_letter_its_kind(found: pd.DataFrame) -> None:
    axes = matrix(interaction(found))
    assert names(axes) == ["A0+B0", "A1+B1"]
    values = found["interaction"].to_numpy().reshape(2, 3)
    np.testing.assert_allclose(np.asarray(axes.images[0].get_array()), values)
    low, high = axes.images[0].get_clim()
    assert low == -high
    letters = {
        (round(t.get_position()[1]), round(t.get_position()[0])): t.get_text() for t in axes.texts
    }
    assert letters == {(0, 0): "S", (0, 1): "B", (0, 2): "D", (1, 0): "R", (1, 1): "=", (1, 2): ""}
    assert "all 2 doubles\n4 interactions called" in axes.get_xlabel()


def test_what_was_called_is_shown_beside_the_sum_clearest_first(found: pd.DataFrame) -> None:
    below = interaction(found).axes[2]
    assert names(below) == ["A0+B0 · z1", "A1+B1 · z0", "A0+B0 · z2", "A0+B0 · z0"]
    chosen = found.iloc[[1, 3, 2, 0]]
    sums = next(line for line in below.lines if line.get_markerfacecolor() == "white")
    np.testing.assert_allclose(np.asarray(sums.get_xdata()), chosen["expected"])
    filled = [line for line in below.lines if line.get_marker() == "o" and line is not sums]
    doubles = {(round(y), x) for line in filled for x, y in np.asarray(line.get_xydata()).tolist()}
    assert doubles == {(i, x) for i, x in enumerate(chosen["observed"])}
    kinds = below.child_axes[0].get_yticklabels()
    assert [text.get_text() for text in kinds] == chosen["kind"].tolist()


def test_nothing_called_has_no_panel_and_no_strong_colour() -> None:
    frame = rows(3, 4, "additive")
    small = frame.assign(interaction=frame["interaction"] * 0.01)
    figure = interaction(small)
    assert len(figure.axes) == 2
    assert "no interactions called" in matrix(figure).get_xlabel()
    assert matrix(figure).images[0].get_clim() == (-0.5, 0.5)


def test_doubles_that_lack_cells_are_counted_and_not_drawn(found: pd.DataFrame) -> None:
    lacking = rows(2, 3).assign(interaction=np.nan, q_value=np.nan)
    lacking["perturbation"] = "X+" + lacking["perturbation"]
    axes = matrix(interaction(pd.concat([found, lacking])))
    assert names(axes) == ["A0+B0", "A1+B1"]
    assert "2 of 4 doubles (2 lack cells of a single or of the control)" in axes.get_xlabel()
    assert "No interaction of 2 doubles" in interaction(lacking).texts[0].get_text()


def test_of_many_doubles_the_clearest_are_kept() -> None:
    frame = rows(131, 15, "synergistic")
    figure = interaction(frame)
    best = frame.groupby("perturbation")["q_value"].min().nsmallest(MAX_ROWS)
    assert names(matrix(figure)) == best.index.tolist()
    assert f"{MAX_ROWS} of 131 doubles" in matrix(figure).get_xlabel()
    assert len(names(figure.axes[2])) == MAX_STRONGEST


def test_awkward_tables_are_drawn(found: pd.DataFrame) -> None:
    dead = found.copy()
    dead.loc[0, ["interaction", "standard_error", "lower", "upper", "q_value"]] = np.nan
    dead.loc[0, "kind"] = "not resolvable"
    renamed = found.assign(
        perturbation="$_" * 30 + found["perturbation"], latent="$" + found["latent"]
    )
    for figure in (
        interaction(found),
        interaction(found[:1]),
        interaction(dead),
        interaction(renamed),
        interaction(rows(2, 60, "reversed")),
        interaction(found[:0]),
    ):
        figure.savefig(io.BytesIO(), format="png", dpi=40)
