from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
from scipy import sparse

from sparseshift.screens import counts as module
from sparseshift.screens.counts import blocks, read_counts

FORMATS: dict[str, Callable[[Any], Any]] = {
    "csr": lambda x: x,
    "csc": sparse.csc_matrix,
    "dense": lambda x: x.toarray(),
    "integer": lambda x: x.astype(np.int64),
    "array": sparse.csr_array,
}


def _sum_of_blocks(adata: ad.AnnData, layer: str | None = None) -> np.ndarray:
    total = np.zeros(adata.shape)
    for block in blocks(adata, layer):
        np.add.at(total, (block.cells, block.genes), block.values)
    return total


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kept", ["whole", "view", "file", "view of file", "layer"])
def test_blocks_and_read_counts_give_the_matrix(
    adata: ad.AnnData, form: str, kept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_ELEMENTS", 700)
    monkeypatch.setattr(module, "LEAST_GENES", 1)
    expected = adata.X.toarray()
    adata.X = FORMATS[form](adata.X)
    layer = None
    if kept == "layer":
        layer, adata.layers["raw"] = "raw", adata.X.copy()
        adata.X = adata.X * 0.5
    if "file" in kept:
        adata.write_h5ad(tmp_path / "screen.h5ad")
        adata = ad.read_h5ad(tmp_path / "screen.h5ad", backed="r")
    if "view" in kept:
        adata, expected = adata[10:95, ::2], expected[10:95, ::2]
    n_blocks = len(list(blocks(adata, layer)))
    assert n_blocks > 1
    np.testing.assert_array_equal(_sum_of_blocks(adata, layer), expected)
    rows = np.arange(3, 50, 2)
    np.testing.assert_array_equal(read_counts(adata, layer, rows).toarray(), expected[rows])
    assert read_counts(adata, layer).dtype == np.float32
    assert adata.is_view == ("view" in kept)


def test_read_counts_is_a_copy(adata: ad.AnnData) -> None:
    before = adata.X.copy()
    counts = read_counts(adata, None)
    counts.data[:] = 7
    assert (before != adata.X).nnz == 0
