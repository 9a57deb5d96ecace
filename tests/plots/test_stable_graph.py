import io

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sparseshift.plots.stable_graph import MAX_ROWS, stable_graph
from sparseshift.plots.style import INK

LATENTS = pd.DataFrame({"latent": ["z0", "z1", "z2"], "agreement": [0.5, 0.99, 0.8]})


def entries(frequency: np.ndarray, effect: np.ndarray | None = None) -> pd.DataFrame:
    """The long table of a graph, three refits in four for a stable edge."""
    shape = frequency.shape
    names = [f"GENE{i}" for i in range(shape[0])]
    values = frequency.ravel()
    effects = np.ones(shape) if effect is None else effect
    return pd.DataFrame(
        {
            "perturbation": np.repeat(names, shape[1]),
            "latent": np.tile([f"z{j}" for j in range(shape[1])], shape[0]),
            "frequency": values,
            "effect": np.where(values > 0, effects.ravel(), np.nan),
            "sign_agreement": np.where(values > 0, 1.0, np.nan),
            "stable": values >= 0.75,
        }
    )


@pytest.fixture
def edges() -> pd.DataFrame:
    frequency = np.array([[1.0, 0.25, 0.0], [0.0, 0.75, 0.0], [0.5, 0.0, 0.0], [0.8, 1.0, 0.0]])
    effect = np.array([[2.0, 1.0, 0.0], [0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [-3.0, 0.5, 0.0]])
    return entries(frequency, effect)


def matrix(figure: Figure) -> Axes:
    return next(axes for axes in figure.axes if axes.images)


def row_names(figure: Figure) -> list[str]:
    return [text.get_text() for text in matrix(figure).get_yticklabels()]


def marks(figure: Figure) -> list[set[tuple[str, int]]]:
    """Perturbation and column of the dots and of the rings."""
    rows = row_names(figure)
    return [
        {(rows[round(y)], round(x)) for x, y in np.asarray(collection.get_offsets()).tolist()}
        for collection in matrix(figure).collections
    ]


def test_colour_is_the_frequency_with_the_sign_of_the_effect(edges: pd.DataFrame) -> None:
    figure = stable_graph(edges, LATENTS)
    image = matrix(figure).images[0]
    shown = pd.DataFrame(np.asarray(image.get_array()), row_names(figure), ["z1", "z2", "z0"])
    expected = pd.DataFrame(
        {"z1": [0.25, -0.75, 1.0], "z2": [0.0, 0.0, 0.0], "z0": [1.0, 0.0, -0.8]},
        ["GENE0", "GENE1", "GENE3"],
    )
    pd.testing.assert_frame_equal(shown.loc[expected.index], expected)
    assert image.get_clim() == (-1.0, 1.0)


def test_latents_stand_in_the_order_of_their_agreement(edges: pd.DataFrame) -> None:
    ticks = matrix(stable_graph(edges, LATENTS)).get_xticklabels()
    assert [tick.get_text() for tick in ticks] == ["z1\n0.99", "z2\n0.80", "z0\n0.50"]
    assert [tick.get_color() == INK for tick in ticks] == [True, False, True]


def test_a_dot_for_every_stable_edge_and_a_ring_where_signs_differ(edges: pd.DataFrame) -> None:
    stable = {("GENE0", 2), ("GENE1", 0), ("GENE3", 2), ("GENE3", 0)}
    assert marks(stable_graph(edges, LATENTS)) == [stable, set()]
    edges.loc[edges["perturbation"] == "GENE1", "sign_agreement"] = 0.75
    dots, rings = marks(stable_graph(edges, LATENTS))
    assert (dots, rings) == (stable - {("GENE1", 0)}, {("GENE1", 0)})


def test_what_is_left_out_is_said(edges: pd.DataFrame) -> None:
    axes = matrix(stable_graph(edges, LATENTS))
    assert "3 of 4 perturbations: the others have no stable edge" in axes.get_xlabel()
    rest = edges[edges["perturbation"] != "GENE2"]
    assert "all 3 perturbations" in matrix(stable_graph(rest, LATENTS)).get_xlabel()


def test_of_many_perturbations_the_most_frequent_edges_are_kept() -> None:
    frequency = np.zeros((700, 3))
    frequency[:100, 0] = np.linspace(0.76, 1.0, 100)
    figure = stable_graph(entries(frequency), LATENTS)
    assert set(row_names(figure)) == {f"GENE{i}" for i in range(100 - MAX_ROWS, 100)}
    assert "60 of 700 perturbations: 40 more have a stable edge" in matrix(figure).get_xlabel()
    inches = matrix(figure).get_position().height * figure.get_size_inches()[1]
    assert inches / MAX_ROWS > 9 / 72 * 0.8


def test_awkward_graphs_are_drawn(edges: pd.DataFrame) -> None:
    nothing = stable_graph(entries(np.zeros((5, 3))), LATENTS)
    assert nothing.texts[0].get_text() == "No edge of 5 perturbations is stable."
    renamed = edges.assign(perturbation="$_" * 30 + edges["perturbation"])
    one = edges[edges["perturbation"] == "GENE0"]
    wide = np.eye(3, 60)
    many = pd.DataFrame({"latent": [f"z{j}" for j in range(60)], "agreement": 0.5})
    for figure in (
        nothing,
        stable_graph(renamed, LATENTS),
        stable_graph(one, LATENTS),
        stable_graph(entries(wide), many),
    ):
        figure.savefig(io.BytesIO(), format="png", dpi=40)
