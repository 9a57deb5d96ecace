import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from sparseshift.errors import OptionError, ScreenError
from sparseshift.screens.check import check_screen
from sparseshift.screens.columns import Columns
from sparseshift.screens.filters import Filters, filter_screen

GENE = Columns("gene", control="non-targeting", batch="batch")
FILTERS = [
    Filters(),
    Filters(min_counts_per_cell=30, min_cells_per_perturbation=10),
    Filters(max_counts_per_cell=45, min_cells_per_gene=40, min_cells_per_perturbation=5),
    Filters(min_genes_per_cell=9, min_cells_per_perturbation=14, min_cells_per_gene=30),
    Filters(0, 0, None, 0, 0),
]


def message(adata: ad.AnnData, filters: Filters, columns: Columns = GENE) -> str:
    with pytest.raises(ScreenError) as error:
        filter_screen(adata, columns, filters)
    return str(error.value)


@pytest.mark.parametrize("filters", FILTERS)
def test_laws(adata: ad.AnnData, filters: Filters) -> None:
    before = adata.copy()
    screen, table = filter_screen(adata, GENE, filters)

    for name in ("cells", "genes", "perturbations"):
        assert table[name].is_monotonic_decreasing
    assert table.iloc[-1][["cells", "genes"]].tolist() == list(screen.shape)
    assert table.columns.tolist() == ["step", "cells", "genes", "perturbations", "dropped", "note"]

    again, unchanged = filter_screen(screen, GENE, filters)
    assert (again.X != screen.X).nnz == 0
    assert len(unchanged) == 4
    pd.testing.assert_frame_equal(again.obs, screen.obs)

    same = before[screen.obs_names, screen.var_names]
    np.testing.assert_array_equal(screen.X.toarray(), same.X.toarray())
    assert screen.obs["gene"].tolist() == same.obs["gene"].tolist()
    assert isinstance(screen.X, sparse.csr_matrix)
    assert screen.X.dtype == np.float32

    depth = np.asarray(screen.X.sum(axis=1)).ravel()
    assert (depth >= filters.min_counts_per_cell).all()
    assert (depth <= (filters.max_counts_per_cell or np.inf)).all()
    assert (np.diff(screen.X.indptr) >= filters.min_genes_per_cell).all()
    sizes = screen.obs["gene"].value_counts()
    assert (sizes.drop("non-targeting") >= filters.min_cells_per_perturbation).all()

    pd.testing.assert_frame_equal(adata.obs, before.obs)
    assert (adata.X != before.X).nnz == 0
    assert not screen.is_view
    check_screen(screen, GENE, empty_cells_allowed=filters.min_counts_per_cell == 0)


def test_the_control_is_kept_however_few(adata: ad.AnnData) -> None:
    adata = adata[17:100].copy()
    screen, table = filter_screen(adata, GENE, Filters(min_cells_per_perturbation=20))
    assert (screen.obs["gene"] == "non-targeting").sum() == 3
    assert table["perturbations"].iloc[-1] == 4


def test_few_cells_drop_a_perturbation_and_name_it(adata: ad.AnnData) -> None:
    adata.obs["gene"] = ["G9" if i < 4 else label for i, label in enumerate(adata.obs["gene"])]
    _, table = filter_screen(adata, GENE, Filters(min_cells_per_perturbation=10))
    row = table.set_index("step").loc["perturbations, round 1"]
    assert row["dropped"] == "G9"
    assert row["note"] == "1 by min_cells_per_perturbation=10"
    assert (row["cells"], row["perturbations"]) == (116, 4)


def test_at_most_twenty_names_are_listed(adata: ad.AnnData) -> None:
    adata.obs["gene"] = [
        f"P{i:02d}" if i < 23 else label for i, label in enumerate(adata.obs["gene"])
    ]
    _, table = filter_screen(adata, GENE, Filters(min_cells_per_perturbation=2))
    dropped = table.set_index("step")["dropped"]["perturbations, round 1"]
    assert dropped.startswith("P00, P01, ")
    assert dropped.endswith("P19 and 3 more")


def test_targets_stay_with_a_single_count(adata: ad.AnnData) -> None:
    dense = adata.X.toarray()
    dense[:, 1:5] = 0  # G1 to G3 are targets, G4 is not
    dense[8, [1, 4]] = 1
    dense[9, 3] = 2
    adata.X = sparse.csr_matrix(dense)
    screen, table = filter_screen(adata, GENE, Filters())
    assert {"G1", "G3"} <= set(screen.var_names)
    assert not {"G2", "G4"} & set(screen.var_names)
    note = table.set_index("step")["note"]["genes, round 1"]
    assert "3 of 3 targets are measured genes" in note
    assert "2 kept as targets" in note


def test_a_dropped_perturbation_no_longer_protects_its_target(adata: ad.AnnData) -> None:
    dense = adata.X.toarray()
    dense[:, 3] = 0
    dense[8, 3] = 1
    adata.X = sparse.csr_matrix(dense)
    keep = (adata.obs["gene"] != "G3") | (np.arange(120) % 20 < 5)
    screen, _ = filter_screen(adata[keep.to_numpy()], GENE, Filters())
    assert "G3" not in screen.var_names


def test_rounds_go_on_until_nothing_changes() -> None:
    """Few genes empty a cell, which leaves a perturbation with too few."""
    counts = np.ones((12, 2), dtype=int)
    counts[:, 1] = 0
    counts[:2] = [0, 1]
    obs = pd.DataFrame(
        {"gene": ["A"] * 4 + ["B"] * 4 + ["ctrl"] * 4}, index=[f"c{i}" for i in range(12)]
    )
    adata = ad.AnnData(counts, obs=obs)
    limits = Filters(min_cells_per_perturbation=3, min_cells_per_gene=3)
    screen, table = filter_screen(adata, Columns("gene", "ctrl"), limits)
    assert screen.shape == (8, 1)
    assert table["step"].tolist()[-2:] == ["cells, round 2", "perturbations, round 2"]
    assert table["dropped"].iloc[-1] == "A"


def test_labels_are_canonical_and_other_parts_are_kept(adata: ad.AnnData) -> None:
    adata.obs["gene"] = [
        {"G1+G2": "G2 + G1", "G3": "non-targeting+G3"}.get(label, label)
        for label in adata.obs["gene"]
    ]
    adata.obs["guide"] = pd.Categorical([f"{label}_1" for label in adata.obs["gene"]])
    adata.obsm["z"], adata.uns["source"] = np.arange(240.0).reshape(120, 2), {"doi": "none"}
    adata.obsm["frame"] = pd.DataFrame({"a": range(120)}, index=adata.obs_names)
    screen, _ = filter_screen(adata[20:], GENE, Filters())
    assert set(screen.obs["gene"]) == {"non-targeting", "G1", "G2", "G3", "G1+G2"}
    assert screen.obsm["z"][0, 0] == 40
    assert screen.obsm["frame"]["a"].iloc[0] == 20
    assert screen.uns["source"] == {"doi": "none"}
    assert screen.uns["source"] is not adata.uns["source"]
    assert "non-targeting_1" in screen.obs["guide"].cat.categories


def test_whole_numbers_and_no_control(adata: ad.AnnData) -> None:
    adata.obs["guide"] = np.repeat([7, 8, 9], 40)
    screen, table = filter_screen(adata, Columns("guide"), Filters())
    assert set(screen.obs["guide"]) == {"7", "8", "9"}
    assert table["perturbations"].tolist()[0] == 3


@pytest.mark.parametrize("form", [sparse.csc_matrix, lambda x: x.toarray().astype(np.int64)])
def test_a_layer_becomes_x(adata: ad.AnnData, form: object) -> None:
    assert callable(form)
    adata.layers["umi"] = form(adata.X)
    expected, _ = filter_screen(adata, GENE, FILTERS[1])
    adata.X = adata.X * 0.3
    columns = Columns("gene", "non-targeting", "batch", layer="umi")
    screen, _ = filter_screen(adata, columns, FILTERS[1])
    assert (screen.X != expected.X).nnz == 0
    again, _ = filter_screen(screen, columns, FILTERS[1])
    assert again.shape == screen.shape


@pytest.mark.parametrize(
    ("filters", "which", "value"),
    [
        (
            Filters(min_counts_per_cell=1000),
            "min_counts_per_cell=1000",
            "min_counts_per_cell={depth}",
        ),
        (Filters(min_genes_per_cell=31), "min_genes_per_cell=31", "min_genes_per_cell="),
        (Filters(max_counts_per_cell=1), "max_counts_per_cell=1", "max_counts_per_cell="),
        (
            Filters(min_cells_per_perturbation=21),
            "min_cells_per_perturbation=21",
            "min_cells_per_perturbation=20",
        ),
        (Filters(min_cells_per_gene=121), "min_cells_per_gene=121", ""),
    ],
)
def test_nothing_left_names_the_filter_and_a_value(
    adata: ad.AnnData, filters: Filters, which: str, value: str
) -> None:
    if filters.min_cells_per_gene > 120:  # targets would be kept
        adata.var_names = [f"H{i}" for i in range(30)]
        value = "min_cells_per_gene=120 would keep"
    text = message(adata, filters)
    control = (adata.obs["gene"] == "non-targeting").to_numpy()
    depth = int(adata.X[control].sum(axis=1).max())
    assert f"filter {which}:" in text
    assert "remain" in text
    assert value.format(depth=depth) in text


def test_the_value_that_is_named_keeps_a_cell(adata: ad.AnnData) -> None:
    columns = Columns("gene")
    depth = int(adata.X.sum(axis=1).max())
    text = message(
        adata, Filters(min_counts_per_cell=depth + 1, min_cells_per_perturbation=0), columns
    )
    assert f"min_counts_per_cell={depth} would keep" in text
    limits = Filters(min_counts_per_cell=depth, min_cells_per_perturbation=0, min_cells_per_gene=0)
    assert filter_screen(adata, columns, limits)[0].n_obs >= 1


def test_losing_the_control_is_a_fault(adata: ad.AnnData) -> None:
    dense = adata.X.toarray()
    dense[(adata.obs["gene"] == "non-targeting").to_numpy(), 1:] = 0
    adata.X = sparse.csr_matrix(dense)
    assert "no control cells remain: all 40" in message(adata, Filters(min_genes_per_cell=2))


def test_faults_of_the_columns_come_first(adata: ad.AnnData) -> None:
    text = message(adata, Filters(), Columns("gen", "non-targeting", layer="raw"))
    assert text.startswith("2 faults")
    assert "'gene'" in text


@pytest.mark.parametrize("key", list(Filters.__dataclass_fields__))
def test_negative_limits_are_refused(key: str) -> None:
    with pytest.raises(OptionError, match=f"{key} is -1"):
        Filters(**{key: -1})


def test_limits_that_exclude_each_other_are_refused() -> None:
    with pytest.raises(OptionError, match="max_counts_per_cell is 5, below min_counts_per_cell"):
        Filters(min_counts_per_cell=6, max_counts_per_cell=5)
