from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
from scipy import sparse

from sparseshift.screens import counts as counts_module
from sparseshift.screens.check_counts import find_count_faults
from sparseshift.screens.faults import Fault

FORMS: dict[str, Any] = {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix, "dense": np.asarray}


def only(faults: list[Fault]) -> Fault:
    assert len(faults) == 1, "\n".join(map(str, faults))
    return faults[0]


def with_value(adata: ad.AnnData, value: float, form: str = "csr") -> ad.AnnData:
    dense = adata.X.toarray()
    dense[70, 5] = value
    adata.X = FORMS[form](dense)
    return adata


@pytest.fixture(autouse=True)
def many_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts_module, "MAX_ELEMENTS", 400)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("value", "text"),
    [
        (-2.0, "are negative"),
        (np.nan, "NaN or infinite"),
        (np.inf, "NaN or infinite"),
        (2.5, "not whole"),
    ],
)
@pytest.mark.parametrize("kept", ["whole", "view", "file"])
def test_values_that_are_no_counts(
    adata: ad.AnnData, form: str, value: float, text: str, kept: str, tmp_path: Path
) -> None:
    adata = with_value(adata, value, form)
    if kept == "file":
        adata.write_h5ad(tmp_path / "screen.h5ad")
        adata = ad.read_h5ad(tmp_path / "screen.h5ad", backed="r")
    if kept == "view":
        adata = adata[20:]
    fault = only(find_count_faults(adata, None))
    assert fault.where == "X"
    assert fault.found.startswith("1 of ")
    assert text in fault.found
    assert "look" not in fault.found
    assert fault.example == f"{value:g} in cell 'cell70', gene 'G5'"
    assert "raw counts" in fault.cure
    assert adata.is_view == (kept == "view")


@pytest.mark.parametrize("dtype", [np.int32, np.uint16, np.float64, bool])
@pytest.mark.parametrize("form", FORMS)
def test_counts_of_every_dtype_pass(adata: ad.AnnData, dtype: type, form: str) -> None:
    adata.X = FORMS[form](adata.X.toarray().astype(dtype))
    assert find_count_faults(adata, None) == []


def lognormalised(counts: np.ndarray, total: float | None) -> np.ndarray:
    scale = 1e4 if total is None else total
    return np.log1p(counts / counts.sum(axis=1, keepdims=True) * scale).astype(np.float32)


@pytest.mark.parametrize("n_genes", [30, 12])
def test_log_normalised(adata: ad.AnnData, n_genes: int) -> None:
    """The rows of the whole matrix sum to a constant; of some genes only, multiples are left."""
    adata.X = sparse.csr_matrix(lognormalised(adata.X.toarray(), None))
    adata = adata[:, :n_genes].copy()
    fault = only(find_count_faults(adata, None, empty_cells_allowed=True))
    assert "they look log-normalised (log1p)" in fault.found
    assert "cell 'cell0'" in fault.example


def test_other_normalisations(adata: ad.AnnData) -> None:
    counts = adata.X.toarray()
    share = counts / counts.sum(axis=1, keepdims=True)
    adata.X = np.log2(1 + 1e4 * share)
    assert "log2" in only(find_count_faults(adata, None)).found
    adata.X = 100 * share
    assert "they look normalised" in only(find_count_faults(adata, None)).found
    adata.X = counts * np.random.default_rng(1).uniform(0.5, 0.9, counts.shape)
    assert "look" not in only(find_count_faults(adata, None)).found
    adata.X = (counts - counts.mean(axis=0)) / (1e-6 + counts.std(axis=0))
    scaled = find_count_faults(adata, None)
    assert [("scaled" in fault.found) for fault in scaled] == [False, True]


def test_the_cure_offers_the_layer_or_raw_with_counts(adata: ad.AnnData) -> None:
    counts = adata.X.copy()
    adata.raw = adata.copy()
    adata.X = sparse.csr_matrix(lognormalised(counts.toarray(), None))
    assert "adata = adata.raw.to_adata()" in only(find_count_faults(adata, None)).cure
    assert find_count_faults(adata.raw.to_adata(), None) == []
    adata.layers["scaled"], adata.layers["umi"] = adata.X * 0.7, counts
    assert (
        "layers['umi'] holds whole numbers: set layer='umi'"
        in only(find_count_faults(adata, None)).cure
    )
    assert "layer='umi'" in only(find_count_faults(adata, "scaled")).cure
    assert find_count_faults(adata, "umi") == []
    adata.X, adata.layers["umi"] = counts, adata.X
    assert "X holds whole numbers: set layer=None" in only(find_count_faults(adata, "umi")).cure


def test_missing_layer(adata: ad.AnnData) -> None:
    fault = only(find_count_faults(adata, "counts"))
    assert fault.where == "layers['counts']"
    assert fault.example == "no layers at all"
    assert "layer=None" in fault.cure
    adata.layers["Count"] = adata.X.copy()
    fault = only(find_count_faults(adata, "counts"))
    assert "'Count'" in fault.example
    assert "Set layer='Count'" in fault.cure


def test_no_matrix(adata: ad.AnnData) -> None:
    fault = only(find_count_faults(ad.AnnData(obs=adata.obs), None))
    assert (fault.where, fault.found) == ("X", "there is no matrix")


def test_text_is_no_matrix(adata: ad.AnnData) -> None:
    adata.X = adata.X.toarray().astype(complex)
    fault = only(find_count_faults(adata, None))
    assert "complex" in fault.found
    assert "integers or floats" in fault.cure


@pytest.mark.parametrize("form", FORMS)
def test_empty_cells(adata: ad.AnnData, form: str) -> None:
    dense = adata.X.toarray()
    dense[[4, 90]] = 0
    adata.X = FORMS[form](dense)
    fault = only(find_count_faults(adata, None))
    assert fault.found == "2 of 120 cells have no counts"
    assert fault.example == "cells 'cell4', 'cell90'"
    assert "min_counts_per_cell=1" in fault.cure
    assert find_count_faults(adata, None, empty_cells_allowed=True) == []


def test_stored_zeros_are_no_counts(adata: ad.AnnData) -> None:
    adata.X.data[adata.X.indptr[4] : adata.X.indptr[5]] = 0
    assert only(find_count_faults(adata, None)).example == "cells 'cell4'"
