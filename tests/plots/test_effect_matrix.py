import io

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sparseshift.plots.effect_matrix import MAX_ROWS, effect_matrix
from sparseshift.plots.style import INK


def matrix(figure: Figure) -> Axes:
    return next(axes for axes in figure.axes if axes.images)


def row_names(figure: Figure) -> list[str]:
    return [text.get_text() for text in matrix(figure).get_yticklabels()]


def edges_drawn(figure: Figure) -> set[tuple[int, int]]:
    return {
        (round(x), round(y))
        for collection in matrix(figure).collections
        for x, y in np.asarray(collection.get_offsets()).tolist()
    }


def test_alike_rows_are_neighbours_and_empty_rows_last(
    effects: pd.DataFrame, inclusion: pd.DataFrame
) -> None:
    names = row_names(effect_matrix(effects, inclusion))
    assert sorted(names) == sorted(effects.index)
    assert names[-3:] == ["ATF2", "MYC", "SPI1"]
    pathway = sorted(names.index(name) for name in ("IFNGR1", "IFNGR2", "JAK2", "STAT1"))
    assert pathway == list(range(pathway[0], pathway[0] + 4))


def test_colour_is_the_product_on_a_symmetric_scale(
    effects: pd.DataFrame, inclusion: pd.DataFrame
) -> None:
    figure = effect_matrix(effects, inclusion)
    image = matrix(figure).images[0]
    shown = pd.DataFrame(np.asarray(image.get_array()), row_names(figure), effects.columns)
    product = effects * inclusion
    pd.testing.assert_frame_equal(shown.loc[effects.index], product, check_names=False)
    low, high = image.get_clim()
    assert low == -high
    assert high == pytest.approx(5.0 * 0.96)
    assert "standard deviations" in figure.axes[0].get_xlabel()


def test_a_dot_for_every_edge_and_no_other(effects: pd.DataFrame, inclusion: pd.DataFrame) -> None:
    inclusion.loc["MYC", "z3"] = 0.51
    inclusion.loc["MYC", "z2"] = 0.5
    figure = effect_matrix(effects, inclusion)
    rows = row_names(figure)
    drawn = {(rows[y], effects.columns[x]) for x, y in edges_drawn(figure)}
    assert drawn == {
        ("IFNGR1", "z0"),
        ("IFNGR2", "z0"),
        ("JAK2", "z0"),
        ("STAT1", "z0"),
        ("SMAD4", "z1"),
        ("CUL3", "z5"),
        ("MYC", "z3"),
    }
    strong = [t.get_text() for t in matrix(figure).get_xticklabels() if t.get_color() == INK]
    assert strong == ["z0", "z1", "z3", "z5"]


def test_rows_of_the_two_tables_are_matched_by_name(
    effects: pd.DataFrame, inclusion: pd.DataFrame
) -> None:
    shuffled = inclusion.iloc[::-1, ::-1]
    assert edges_drawn(effect_matrix(effects, shuffled)) == edges_drawn(
        effect_matrix(effects, inclusion)
    )
    with pytest.raises(KeyError, match="MYC"):
        effect_matrix(effects, inclusion.drop(index="MYC"))


def test_of_many_perturbations_the_largest_are_kept_and_the_axis_says_so() -> None:
    rng = np.random.default_rng(0)
    names = pd.Index([f"GENE{i}+PARTNER{i}" for i in range(200)])
    table = pd.DataFrame(rng.normal(size=(200, 15)), names)
    figure = effect_matrix(table, table * 0 + 1)
    kept = row_names(figure)
    norms = pd.Series(np.linalg.norm(table, axis=1), names)
    assert set(kept) == set(norms.nlargest(MAX_ROWS).index)
    assert matrix(figure).get_ylabel() == ("perturbation (the 120 of 200 with the largest shift)")
    inches = matrix(figure).get_position().height * figure.get_size_inches()[1]
    assert inches / MAX_ROWS > 9 / 72 * 0.8
    assert min(float(t.get_fontsize()) for t in matrix(figure).get_yticklabels()) >= 9


def test_one_outlier_does_not_fade_the_rest() -> None:
    table = pd.DataFrame(np.ones((50, 4)))
    table.iloc[0, 0] = 40.0
    image = matrix(effect_matrix(table, table * 0 + 1)).images[0]
    assert image.get_clim() == (-1.0, 1.0)


def test_awkward_matrices_are_drawn(effects: pd.DataFrame, inclusion: pd.DataFrame) -> None:
    without_edges = effect_matrix(effects, inclusion * 0)
    assert not edges_drawn(without_edges)
    assert row_names(without_edges) == list(effects.index)
    one = effect_matrix(effects.loc[["STAT1"]], inclusion.loc[["STAT1"]])
    assert row_names(one) == ["STAT1"]
    renamed = effects.set_axis([f"$_{name}" * 30 for name in effects.index])
    missing = effects.where(effects > -2)
    wide = pd.DataFrame(np.eye(3, 60), columns=[f"latent_{j}" for j in range(60)])
    for figure in (
        without_edges,
        one,
        effect_matrix(renamed, inclusion.set_axis(renamed.index)),
        effect_matrix(missing, inclusion),
        effect_matrix(effects * 0, inclusion),
        effect_matrix(wide, wide),
    ):
        figure.savefig(io.BytesIO(), format="png", dpi=40)
    assert "no perturbations" in effect_matrix(effects[:0], inclusion[:0]).texts[0].get_text()
