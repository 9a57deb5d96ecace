import io

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from sparseshift.plots.latent_genes import MAX_GENES, MAX_LATENTS, latent_genes
from sparseshift.plots.style import LOWERED, RAISED


def bars(axes: Axes) -> list[Rectangle]:
    return [patch for patch in axes.patches if isinstance(patch, Rectangle)]


def test_latents_with_most_edges_first_and_none_without(genes: pd.DataFrame) -> None:
    figure = latent_genes(genes)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["z5 · 6 edges", "z0 · 4 edges", "z1 · 1 edge"]
    assert figure.get_supxlabel() == "log2 fold change"


def test_bars_are_the_genes_that_change_most(genes: pd.DataFrame) -> None:
    axes = latent_genes(genes).axes[0]
    own = genes[genes["latent"] == "z5"].set_index("gene")["log2_fold_change"]
    top = own.loc[own.abs().nlargest(MAX_GENES).index].sort_values(ascending=False)
    assert [text.get_text() for text in axes.get_yticklabels()] == list(top.index)
    np.testing.assert_allclose([bar.get_width() for bar in bars(axes)], top)
    for bar in bars(axes):
        assert to_hex(bar.get_facecolor()) == (RAISED if bar.get_width() > 0 else LOWERED)


def test_panels_share_the_axis(genes: pd.DataFrame) -> None:
    limits = {axes.get_xlim() for axes in latent_genes(genes).axes}
    assert len(limits) == 1


def test_at_most_eight_latents(genes: pd.DataFrame) -> None:
    many = pd.concat(
        [genes.assign(latent=f"{i}" + genes["latent"], edges=i + 1) for i in range(4)]
    )
    assert len(latent_genes(many).axes) == MAX_LATENTS


def test_awkward_genes_are_drawn(genes: pd.DataFrame) -> None:
    one = genes[genes["latent"] == "z1"].iloc[:1]
    renamed = genes.assign(gene="ENSG_$" + genes["gene"] * 20, latent=genes["latent"] * 30)
    gaps = genes.assign(log2_fold_change=genes["log2_fold_change"].where(genes["latent"] != "z0"))
    for frame in (one, renamed, gaps):
        latent_genes(frame).savefig(io.BytesIO(), format="png", dpi=40)
    for nothing in (genes.assign(edges=0), genes[:0]):
        assert latent_genes(nothing).texts[0].get_text() == "No latent has an edge."
