import io
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from sparseshift.plots.quadruples import quadruples
from sparseshift.plots.style import model_colour


def bars(axes: Axes) -> list[Rectangle]:
    return [patch for patch in axes.patches if isinstance(patch, Rectangle)]


def test_a_histogram_a_model_in_its_colour_and_per_cent(mechanism: dict[str, Any]) -> None:
    figure = quadruples(mechanism)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["raw_effects", "svae_plus"]
    assert figure.get_supylabel() == "quadruples (%)"
    for axes, name in zip(figure.axes, ("raw_effects", "svae_plus"), strict=True):
        assert len(bars(axes)) == 40
        assert sum(bar.get_height() for bar in bars(axes)) == pytest.approx(100)
        assert to_hex(bars(axes)[0].get_facecolor()) == model_colour(name)


def test_the_line_is_the_quadruple_asked_about(mechanism: dict[str, Any]) -> None:
    raw, sparse = quadruples(mechanism).axes
    np.testing.assert_allclose(np.asarray(sparse.lines[0].get_xdata()), 0.95)
    assert sparse.get_title(loc="right") == "cosine 0.95; < 0.1 % are at least as alike"
    assert raw.get_title(loc="right") == "cosine 0.20; 34 % are at least as alike"
    assert "line: STAT1, JAK2, IFNGR1, IFNGR2" in sparse.get_xlabel()


def test_awkward_summaries_are_drawn(mechanism: dict[str, Any]) -> None:
    empty = {**mechanism["models"]["svae_plus"], "cosine": np.nan, "quantile": np.nan}
    empty["histogram"] = {"edges": [-1.0, 0.0, 1.0], "counts": [0, 0]}
    summary = {"genes": ["$_" * 40] * 4, "models": {"a_model_of_mine" * 9: empty}}
    figure = quadruples(summary)
    figure.savefig(io.BytesIO(), format="png", dpi=40)
    assert figure.axes[0].get_title(loc="right") == "no shift, no cosine"
    assert not figure.axes[0].lines
    assert "No model" in quadruples({"genes": [], "models": {}}).texts[0].get_text()
