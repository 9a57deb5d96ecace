import io

import numpy as np
import pandas as pd
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from sparseshift.plots.latent_embedding import latent_embedding
from sparseshift.plots.style import FAINT, GROUP_COLOURS


def layers(figure: Figure) -> tuple[PathCollection, PathCollection]:
    rest, front = figure.axes[0].collections
    assert isinstance(rest, PathCollection)
    assert isinstance(front, PathCollection)
    return rest, front


def hex_colours(points: PathCollection) -> list[str]:
    return [to_hex((r, g, b)) for r, g, b, _ in np.asarray(points.get_facecolor()).tolist()]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_a_point_a_cell_and_highlights_above_the_grey(embedding: pd.DataFrame) -> None:
    figure = latent_embedding(embedding)
    rest, front = layers(figure)
    n_highlighted = int((embedding["highlight"] != "").sum())
    assert len(np.asarray(front.get_offsets())) == n_highlighted
    assert len(np.asarray(rest.get_offsets())) == len(embedding) - n_highlighted
    assert hex_colours(rest)[0] == FAINT
    assert rest.get_rasterized()
    assert front.get_rasterized()


def test_every_point_has_the_colour_of_its_group(embedding: pd.DataFrame) -> None:
    _, front = layers(latent_embedding(embedding))
    colours = dict(zip(["JAK2", "SMAD4", "STAT1"], GROUP_COLOURS, strict=False))
    groups = embedding.set_index(["x", "y"])["highlight"]
    for (x, y), colour in zip(
        np.asarray(front.get_offsets()).tolist(), hex_colours(front), strict=True
    ):
        assert colour == colours[groups.loc[(x, y)]]


def test_the_legend_counts_cells(embedding: pd.DataFrame) -> None:
    sizes = embedding["highlight"].value_counts()
    assert legend(latent_embedding(embedding)) == [
        *(f"{name} ({sizes[name]})" for name in ("JAK2", "SMAD4", "STAT1")),
        f"other cells ({sizes['']})",
    ]


def test_only_the_nine_largest_groups_get_a_colour() -> None:
    names = np.repeat([f"group {i:02}" for i in range(12)], range(1, 13))
    frame = pd.DataFrame({"x": 0.0, "y": 1.0, "perturbation": "a", "highlight": names})
    texts = legend(latent_embedding(frame))
    assert texts[0] == "group 03 (4)"
    assert texts[-1] == "other cells (6, 3 more groups among them)"
    assert len(texts) == 10


def test_awkward_embeddings_are_drawn(embedding: pd.DataFrame) -> None:
    none = embedding.assign(highlight="")
    assert len(legend(latent_embedding(none))) == 1
    every = embedding.assign(highlight="_a very long $ name of a group " * 3)
    same_index = embedding.set_axis(["cell"] * len(embedding))
    gaps = embedding.assign(x=embedding["x"].where(embedding["x"] > 0), highlight=None)
    for frame in (none, every, same_index, gaps):
        latent_embedding(frame).savefig(io.BytesIO(), format="png", dpi=40)
    assert latent_embedding(embedding[:0]).texts[0].get_text() == "There are no cells to show."
