from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
from scipy import sparse

from sparseshift.errors import OptionError
from sparseshift.screens.columns import Columns
from sparseshift.screens.genes import choose_genes

RAW = Path(__file__).parents[2] / "data" / "01_raw"
GENE = Columns("gene", control="non-targeting")
TRAINING = np.arange(120) % 3 > 0


def test_variable_genes_are_found(adata: ad.AnnData) -> None:
    """Two genes that few cells have in plenty, among genes that all have alike."""
    dense = np.random.default_rng(0).poisson(0.5, size=(120, 30))
    dense[:, [11, 17]] = 0
    dense[::10, 11], dense[1::10, 17] = 6, 6
    adata.X = sparse.csr_matrix(dense)
    table = choose_genes(adata, GENE, TRAINING, n_top=2, protect_targets=False)
    assert table.index.equals(adata.var_names)
    assert table.index[table["chosen"]].tolist() == ["G11", "G17"]
    assert set(table["reason"]) == {"variable", "not variable"}


@pytest.mark.parametrize("protect_targets", [False, True])
def test_cells_outside_training_change_nothing(adata: ad.AnnData, protect_targets: bool) -> None:
    options: dict[str, Any] = {"n_top": 6, "protect_targets": protect_targets}
    expected = choose_genes(adata, GENE, TRAINING, **options)
    dense = adata.X.toarray()
    dense[~TRAINING] = np.random.default_rng(1).poisson(50, size=(40, 30))
    dense[~TRAINING, 7] = np.nan
    adata.X = sparse.csr_matrix(dense)
    changed = choose_genes(adata, GENE, TRAINING, **options)
    assert changed.equals(expected)
    alone = choose_genes(adata[TRAINING], GENE, np.arange(80), **options)
    assert alone.equals(expected)


def test_mask_and_indices_agree(adata: ad.AnnData) -> None:
    indices = np.random.default_rng(2).permutation(np.flatnonzero(TRAINING))
    mask = choose_genes(adata, GENE, TRAINING, n_top=5, protect_targets=True)
    assert choose_genes(adata, GENE, indices, n_top=5, protect_targets=True).equals(mask)


def test_targets_are_protected(adata: ad.AnnData) -> None:
    dense = adata.X.toarray()
    dense[:, [1, 2, 3]] = 0
    dense[TRAINING.argmax(), [1, 2]] = 1  # G3 has no count
    adata.X = sparse.csr_matrix(dense)
    table = choose_genes(adata, GENE, TRAINING, n_top=4, protect_targets=True)
    assert tuple(table.loc["G3"]) == (False, "no count in training cells")
    assert set(table["reason"].loc[["G1", "G2"]].tolist()) <= {"variable", "target"}
    assert table["reason"].tolist().count("variable") == 4
    assert table["chosen"][["G1", "G2"]].all()
    bare = choose_genes(adata, GENE, TRAINING, n_top=4, protect_targets=False)
    assert bare["chosen"].sum() == 4
    assert (bare["chosen"] <= table["chosen"]).all()


@pytest.mark.parametrize("n_top", [None, 29, 500])
def test_all_genes_with_a_count(adata: ad.AnnData, n_top: int | None) -> None:
    dense = adata.X.toarray()
    dense[TRAINING, 20] = 0
    dense[~TRAINING, 20] = 9
    adata.X = sparse.csr_matrix(dense)
    counted = (dense[TRAINING] > 0).any(axis=0)
    table = choose_genes(adata, GENE, TRAINING, n_top=n_top, protect_targets=True)
    np.testing.assert_array_equal(table["chosen"], counted)
    assert table.loc["G20", "reason"] == "no count in training cells"
    assert (table.loc[counted, "reason"] == "all").all()


def test_empty_cells_and_layers(adata: ad.AnnData) -> None:
    dense = adata.X.toarray()
    dense[[1, 2]] = 0
    adata.layers["umi"], adata.X = sparse.csc_matrix(dense), None
    table = choose_genes(
        adata, Columns("gene", layer="umi"), TRAINING, n_top=5, protect_targets=False
    )
    assert table["chosen"].sum() == 5


def test_every_depth_gives_n_top() -> None:
    """Screens of tens of counts a cell, where most genes have hardly any."""
    real = ad.read_h5ad(RAW / "norman2019_subset.h5ad")
    training = np.arange(real.n_obs) % 2 == 0
    columns = Columns("perturbation", "control")
    table = choose_genes(real, columns, training, n_top=100, protect_targets=False)
    assert table["chosen"].sum() == 100
    other = choose_genes(real, columns, ~training, n_top=100, protect_targets=False)
    assert (table["chosen"] & other["chosen"]).sum() > 60


@pytest.mark.parametrize(
    ("cells", "text"),
    [
        (np.ones(7, dtype=bool), "mask of shape"),
        (np.zeros(120, dtype=bool), "is empty"),
        (np.array([], dtype=int), "is empty"),
        (np.array([0, 120]), "0 to 119"),
        (np.array([-1]), "0 to 119"),
        (np.array([0.5]), "mask or indices"),
    ],
)
def test_impossible_training_cells_are_refused(
    adata: ad.AnnData, cells: np.ndarray, text: str
) -> None:
    with pytest.raises(OptionError, match=text):
        choose_genes(adata, GENE, cells, n_top=3, protect_targets=False)


def test_impossible_n_top_is_refused(adata: ad.AnnData) -> None:
    with pytest.raises(OptionError, match="n_top is 0"):
        choose_genes(adata, GENE, TRAINING, n_top=0, protect_targets=False)
