"""The figures of the tables of quality: cells, counts, targets, batches."""

import io

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

from sparseshift.plots.batch_balance import MAX_BATCHES, batch_balance
from sparseshift.plots.cells_per_perturbation import cells_per_perturbation
from sparseshift.plots.counts_per_cell import counts_per_cell
from sparseshift.plots.label_rows import MAX_ROWS
from sparseshift.plots.style import INK, LOWERED, MUTED, RAISED
from sparseshift.plots.target_knockdown import target_knockdown


def quality(n: int, control: bool = True) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    median = rng.lognormal(6, 0.4, n)
    return pd.DataFrame(
        {
            "perturbation": [f"G{i}" for i in range(n)],
            "is_control": [control and i == 0 for i in range(n)],
            "cells": rng.integers(20, 900, n),
            "counts_q10": median / 2,
            "counts_median": median,
            "counts_q90": median * 2,
        }
    )


def changes(n: int) -> pd.DataFrame:
    change = np.random.default_rng(1).permutation(np.linspace(-3, 1, n))
    return pd.DataFrame(
        {
            "perturbation": [f"G{i}" for i in range(n)],
            "target": [f"G{i}" for i in range(n)],
            "target_change": change,
            "lower": change - 0.4,
            "upper": change + 0.4,
        }
    )


def balance(n_labels: int, n_batches: int, n_cells: int = 200) -> pd.DataFrame:
    rng = np.random.default_rng(2)
    rows = [
        (f"G{i}", i == 0, f"{j + 1}", n)
        for i in range(n_labels)
        for j, n in enumerate(rng.multinomial(n_cells, np.full(n_batches, 1 / n_batches)))
        if n
    ]
    return pd.DataFrame(rows, columns=["perturbation", "is_control", "batch", "cells"])


def row_names(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.get_yticklabels()]


def bold_rows(axes: Axes) -> list[str]:
    return [t.get_text() for t in axes.get_yticklabels() if t.get_fontweight() == "bold"]


def points(axes: Axes) -> tuple[np.ndarray, list[str]]:
    """Places and colours of the points, (points, 2)."""
    (scatter,) = [c for c in axes.collections if len(np.asarray(c.get_offsets())) > 1]
    colours = [to_hex((r, g, b)) for r, g, b, _ in np.asarray(scatter.get_facecolor()).tolist()]
    return np.asarray(scatter.get_offsets()), colours


def heat_map(figure: Figure) -> tuple[Axes, pd.DataFrame]:
    axes = next(axes for axes in figure.axes if axes.images)
    return axes, pd.DataFrame(np.asarray(axes.images[0].get_array()), row_names(axes))


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def overlaps(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of texts that are drawn over each other."""
    figure.draw_without_rendering()
    shown = [
        (text.get_text(), text.get_window_extent())
        for text in figure.findobj(Text)
        if isinstance(text, Text) and text.get_visible() and text.get_text()
    ]
    return [
        (a, b)
        for i, (a, one) in enumerate(shown)
        for b, other in shown[i + 1 :]
        if one.padded(-1).overlaps(other.padded(-1))
    ]


def test_cells_are_ranked_with_their_numbers_and_the_control_marked() -> None:
    table = quality(12)
    (axes,) = cells_per_perturbation(table).axes
    ranked = table.sort_values("cells", ascending=False, kind="stable")
    assert row_names(axes) == ranked["perturbation"].tolist()
    assert bold_rows(axes) == ["G0"]
    places, colours = points(axes)
    np.testing.assert_array_equal(places[:, 0], ranked["cells"])
    assert colours == [INK if control else MUTED for control in ranked["is_control"]]
    assert [text.get_text() for text in axes.texts] == [f"{n:,}" for n in ranked["cells"]]
    assert axes.get_xlabel() == "cells (bold: control)"


def test_cells_of_many_labels_are_a_curve_with_quantiles() -> None:
    table = quality(500)
    figure = cells_per_perturbation(table)
    perturbed = table.loc[~table["is_control"], "cells"]
    curve = next(line for line in figure.axes[0].lines if len(np.asarray(line.get_xdata())) > 2)
    np.testing.assert_array_equal(np.asarray(curve.get_ydata()), np.sort(perturbed)[::-1])
    low, median, high = np.quantile(perturbed, [0.1, 0.5, 0.9])
    assert legend(figure) == [
        f"middle four fifths ({low:,.0f} to {high:,.0f})",
        f"median ({median:,.0f})",
        "499 perturbations",
        f"control ({table['cells'][0]:,})",
    ]


@pytest.mark.parametrize("n", [8, 300])
def test_counts_are_ranked_by_their_medians(n: int) -> None:
    table = quality(n)
    (axes,) = counts_per_cell(table).axes
    ranked = table.sort_values("counts_median", ascending=False)
    if n == 8:
        assert row_names(axes) == ranked["perturbation"].tolist()
        assert bold_rows(axes) == ["G0"]
        np.testing.assert_allclose(points(axes)[0][:, 0], ranked["counts_median"])
        line = np.asarray(axes.lines[0].get_xdata())
        np.testing.assert_allclose(line, table["counts_median"][0])
    else:
        curve = next(line for line in axes.lines if len(np.asarray(line.get_xdata())) > 2)
        perturbed = ranked.loc[~ranked["is_control"], "counts_median"]
        np.testing.assert_allclose(np.asarray(curve.get_ydata()), perturbed)
    assert "counts a cell" in axes.get_xlabel() + axes.get_ylabel()


@pytest.mark.parametrize("n", [9, 300])
def test_targets_are_ranked_and_coloured_by_their_intervals(n: int) -> None:
    table = changes(n)
    axes = target_knockdown(table).axes[0]
    ranked = table.sort_values("target_change")
    places, colours = points(axes)
    np.testing.assert_allclose(places[:, 0 if n == 9 else 1], ranked["target_change"])
    lowered, raised = ranked["upper"] < 0, ranked["lower"] > 0
    assert [c == LOWERED for c in colours] == lowered.tolist()
    assert [c == RAISED for c in colours] == raised.tolist()
    counted = f"{lowered.sum()} lowered (blue), {raised.sum()} raised (red)"
    assert axes.get_title(loc="left").startswith(counted)


def test_the_axis_in_per_cent_is_that_of_the_logarithm() -> None:
    axes = target_knockdown(changes(9)).axes[0]
    (side,) = axes.child_axes
    shown = {
        text.get_text(): text.get_position()[0] for text in side.get_xticklabels(which="major")
    }
    assert shown["100 %"] == 0
    assert shown["50 %"] == pytest.approx(-1)
    assert shown["20 %"] == pytest.approx(np.log2(0.2))


def test_a_target_in_a_combination_says_so() -> None:
    table = changes(2).assign(perturbation=["G0", "G0+G1"], target_change=[-1.0, 0.0])
    assert row_names(target_knockdown(table).axes[0]) == ["G0", "G1 in G0+G1"]


def test_a_long_interval_does_not_hide_the_points() -> None:
    table = changes(9)
    table.loc[0, ["lower", "upper"]] = [-400.0, 400.0]
    low, high = target_knockdown(table).axes[0].get_xlim()
    assert -6 < low < table["target_change"].min()
    assert table["target_change"].max() < high < 4


def test_batches_are_in_the_order_of_their_names_and_the_control_is_on_top() -> None:
    table = balance(6, 12)
    axes, shown = heat_map(batch_balance(table))
    assert [t.get_text() for t in axes.get_xticklabels()] == [f"{j + 1}" for j in range(12)]
    assert shown.index[0] == "G0"
    assert bold_rows(axes) == ["G0"]
    cells = table.pivot_table("cells", "perturbation", "batch", "sum", fill_value=0)
    expected = np.outer(cells.sum(axis=1), cells.sum()) / cells.to_numpy().sum()
    ratio = np.log2((cells + 4) / (expected + 4))[[f"{j + 1}" for j in range(12)]]
    np.testing.assert_allclose(shown, ratio.loc[shown.index])
    low, high = axes.images[0].get_clim()
    assert low == -high


def test_a_label_in_one_batch_is_seen_and_few_cells_are_not() -> None:
    confounded = balance(40, 20, n_cells=20)
    alone = pd.DataFrame([("ALONE", False, "7", 100)], columns=confounded.columns)
    _, shown = heat_map(batch_balance(pd.concat([confounded, alone])))
    assert shown.index[1] == "ALONE"
    assert shown.loc["ALONE"].idxmax() == 6
    assert shown.loc["ALONE"].to_numpy().max() > 2
    assert np.abs(shown.drop(index="ALONE").to_numpy()).max() < 1.5


def test_of_many_labels_and_batches_those_that_differ_most_are_shown() -> None:
    table = balance(300, 90)
    alone = [(f"ALONE{i}", False, f"{i + 1}", 300) for i in range(5)]
    table = pd.concat([table, pd.DataFrame(alone, columns=table.columns)])
    axes, shown = heat_map(batch_balance(table))
    assert shown.shape == (MAX_ROWS, MAX_BATCHES)
    assert set(shown.index[1:6]) == {name for name, *_ in alone}
    assert axes.get_ylabel() == "label (the 60 of 305 that differ most)"
    assert axes.get_xlabel().startswith("batch (the 60 of 90 that differ most)")
    assert min(float(t.get_fontsize()) for t in axes.get_yticklabels()) >= 9


@pytest.mark.parametrize("n", [2, 15, 60, 2000])
def test_no_text_lies_over_another(n: int) -> None:
    figures = [
        cells_per_perturbation(quality(n)),
        counts_per_cell(quality(n)),
        target_knockdown(changes(n)),
        batch_balance(balance(min(n, 70), min(n, 60))),
    ]
    for figure in figures:
        assert overlaps(figure) == []


def test_awkward_tables_are_drawn() -> None:
    odd = quality(5).assign(perturbation=["$_long name " * 9, "_", "", "50% $x$", "α"])
    empty_cells = quality(4).assign(counts_q10=0.0)
    same = quality(4, control=False).assign(cells=1)
    one_cell = changes(3).assign(lower=np.nan, upper=np.nan)
    for figure in (
        cells_per_perturbation(odd),
        counts_per_cell(odd),
        cells_per_perturbation(same),
        counts_per_cell(empty_cells),
        counts_per_cell(quality(100, control=False)),
        cells_per_perturbation(quality(100, control=False)),
        target_knockdown(one_cell),
        target_knockdown(changes(4).assign(target="$_long name " * 9)),
        batch_balance(balance(4, 3).assign(batch=lambda t: "$_²" + 9 * t["batch"])),
        batch_balance(balance(3, 2).assign(is_control=False)),
    ):
        figure.savefig(io.BytesIO(), format="png", dpi=40)


def test_nothing_to_draw_is_said_in_words() -> None:
    nothing = balance(2, 2)[:0]
    assert "no cells" in cells_per_perturbation(quality(2)[:0]).texts[0].get_text()
    assert "no cells" in counts_per_cell(quality(2)[:0]).texts[0].get_text()
    unknown = changes(3).assign(target_change=np.nan)
    for table in (unknown, unknown[:0]):
        assert "No target" in target_knockdown(table).texts[0].get_text()
    for table in (balance(3, 1), nothing):
        assert "one batch" in batch_balance(table).texts[0].get_text()
