from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from sparseshift.errors import ScreenError
from sparseshift.screens import counts as module
from sparseshift.screens.columns import Columns
from sparseshift.screens.quality.perturbation_quality import cell_totals, perturbation_quality

GENE = Columns("gene", control="non-targeting", batch="batch")
FORMATS: dict[str, Callable[[Any], Any]] = {
    "csr": lambda x: x,
    "csc": sparse.csc_matrix,
    "dense": lambda x: x.toarray(),
}


def by_hand(adata: ad.AnnData) -> pd.DataFrame:
    dense = adata.X.toarray()
    cells = pd.DataFrame(
        {
            "perturbation": adata.obs["gene"].to_numpy(),
            "counts": dense.sum(axis=1).astype(float),
            "genes": (dense > 0).sum(axis=1),
        }
    )
    rows = [
        (
            label,
            label == "non-targeting",
            len(own),
            *np.quantile(own["counts"], [0.1, 0.5, 0.9]),
            np.median(own["genes"]),
        )
        for label, own in cells.groupby("perturbation")
    ]
    rows.sort(key=lambda row: (not row[1], row[0]))
    names = "perturbation is_control cells counts_q10 counts_median counts_q90 genes_median"
    return pd.DataFrame(rows, columns=names.split())


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kept", ["whole", "view", "file", "layer"])
def test_it_is_what_one_finds_by_hand(
    adata: ad.AnnData, form: str, kept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_ELEMENTS", 700)
    monkeypatch.setattr(module, "LEAST_GENES", 1)
    expected = by_hand(adata[10:95, ::2] if kept == "view" else adata)
    columns, adata.X = GENE, FORMATS[form](adata.X)
    if kept == "layer":
        columns = Columns("gene", "non-targeting", layer="raw")
        adata.layers["raw"], adata.X = adata.X.copy(), adata.X * 0.5
    if kept == "file":
        adata.write_h5ad(tmp_path / "screen.h5ad")
        adata = ad.read_h5ad(tmp_path / "screen.h5ad", backed="r")
    if kept == "view":
        adata = adata[10:95, ::2]
    pd.testing.assert_frame_equal(perturbation_quality(adata, columns), expected)


def test_the_order_of_cells_and_of_parts_changes_nothing(adata: ad.AnnData) -> None:
    expected = perturbation_quality(adata, GENE)
    shuffled = adata[np.random.default_rng(0).permutation(adata.n_obs)].copy()
    shuffled.obs["gene"] = [
        "G2 + G1" if label == "G1+G2" else label for label in shuffled.obs["gene"]
    ]
    pd.testing.assert_frame_equal(perturbation_quality(shuffled, GENE), expected)


def test_without_a_control_no_label_is_one(adata: ad.AnnData) -> None:
    table = perturbation_quality(adata, Columns("gene"))
    assert not table["is_control"].any()
    assert table["perturbation"].tolist() == sorted(set(adata.obs["gene"]))
    assert table["cells"].sum() == adata.n_obs


def test_empty_cells_and_genes_count_as_such(adata: ad.AnnData) -> None:
    dense = adata.X.toarray()
    dense[[0, 5]], dense[:, 7] = 0, 0
    adata.X = sparse.csr_matrix(dense)
    counts, genes = cell_totals(adata, None)
    np.testing.assert_array_equal(counts, dense.sum(axis=1))
    np.testing.assert_array_equal(genes, (dense > 0).sum(axis=1))


def test_a_wrong_column_is_named(adata: ad.AnnData) -> None:
    with pytest.raises(ScreenError, match="'guide'"):
        perturbation_quality(adata, Columns("guide"))
    with pytest.raises(ScreenError, match="'raw'"):
        perturbation_quality(adata, Columns("gene", layer="raw"))
