from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from sparseshift.errors import ScreenError
from sparseshift.screens.columns import Columns
from sparseshift.screens.quality import target_change as module
from sparseshift.screens.quality.target_change import target_change

GENE = Columns("gene", control="non-targeting")
RAW = Path(__file__).parents[2] / "data" / "01_raw"
FORMATS: dict[str, Callable[[Any], Any]] = {
    "csr": lambda x: x,
    "csc": sparse.csc_matrix,
    "dense": lambda x: x.toarray(),
}


def by_hand(adata: ad.AnnData, symbols: Any = None) -> pd.DataFrame:
    """The same from a dense matrix, a label and a target at a time."""
    counts = adata.X.toarray().astype(float)
    filled = counts.sum(axis=1) > 0
    totals = counts[filled].sum(axis=1)
    scaled = 1e4 * counts[filled] / totals[:, None]
    labels = adata.obs["gene"].to_numpy()[filled]
    symbols = np.asarray(adata.var_names if symbols is None else symbols)
    rows = []
    for label in sorted(set(labels) - {"non-targeting"}):
        for target in sorted(set(label.split("+")) & set(symbols)):
            is_own = labels == label
            groups = [is_own, labels == "non-targeting"]
            values = [scaled[group][:, symbols == target].sum(axis=1) for group in groups]
            units = [1e4 * np.mean(1 / totals[group]) / group.sum() for group in groups]
            c = max(units) / 2
            means = [value.mean() for value in values]
            errors = [
                (value.var(ddof=1) / len(value) + unit * c) / (value.mean() + c) ** 2
                for value, unit in zip(values, units, strict=True)
            ]
            change = np.log2((means[0] + c) / (means[1] + c))
            half = 1.96 * np.sqrt(sum(errors)) / np.log(2)
            n = int((values[0] > 0).sum())
            rows.append((label, target, n, *means, change, change - half, change + half))
    names = "perturbation target target_cells target_mean control_mean target_change lower upper"
    return pd.DataFrame(rows, columns=names.split())


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kept", ["whole", "view", "file"])
@pytest.mark.parametrize("with_symbols", [False, True])
def test_it_is_what_one_finds_by_hand(
    adata: ad.AnnData,
    form: str,
    kept: str,
    with_symbols: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In blocks of a few cells, or of a few genes, of which some are of one symbol."""
    monkeypatch.setattr(module, "MAX_ELEMENTS", 200)
    monkeypatch.setattr(module, "LEAST_GENES", 1)
    columns, symbols = GENE, None
    if with_symbols:
        columns = Columns("gene", control="non-targeting", symbol="symbol")
        symbols = np.array([f"G{i % 7}" for i in range(30)])
        adata.var["symbol"] = symbols
    picked = (slice(5, 110), slice(None, None, 2 if not with_symbols else None))
    expected = by_hand(adata[picked].copy() if kept == "view" else adata, symbols)
    adata.X = FORMATS[form](adata.X)
    if kept == "file":
        adata.write_h5ad(tmp_path / "screen.h5ad")
        adata = ad.read_h5ad(tmp_path / "screen.h5ad", backed="r")
    if kept == "view":
        adata = adata[picked]
    assert len(expected) >= 2
    pd.testing.assert_frame_equal(target_change(adata, columns), expected)


def test_the_order_of_cells_and_genes_changes_nothing(adata: ad.AnnData) -> None:
    expected = target_change(adata, GENE)
    rng = np.random.default_rng(0)
    shuffled = adata[rng.permutation(adata.n_obs), rng.permutation(adata.n_vars)].copy()
    pd.testing.assert_frame_equal(target_change(shuffled, GENE), expected)


def test_targets_of_the_bundled_screens() -> None:
    papalexi = ad.read_h5ad(RAW / "papalexi2021_subset.h5ad")
    table = target_change(papalexi, GENE).set_index("target")
    jak2 = np.asarray(papalexi[:, "JAK2"].X.todense()).ravel()
    raw = pd.Series(jak2).groupby(papalexi.obs["gene"].to_numpy()).mean()
    assert raw["JAK2"] == pytest.approx(0.57, abs=0.005)
    assert raw["non-targeting"] == pytest.approx(2.86, abs=0.005)
    # totals differ little between the two, so that the ratio is that of the raw counts
    change = np.log2(raw["JAK2"] / raw["non-targeting"])
    lower, upper = (float(table[side].loc["JAK2"]) for side in ("lower", "upper"))
    assert lower < change < upper < -1.5
    assert len(table) == 9
    assert (table["upper"] < 0).all()

    activated = ad.read_h5ad(RAW / "norman2019_subset.h5ad")
    raised = target_change(activated, Columns("perturbation", control="control"))
    assert raised["target"].tolist() == ["TMSB4X"]
    assert raised["lower"].item() > 1


def test_equal_cells_have_no_change(adata: ad.AnnData) -> None:
    rows = np.arange(20)
    twice = ad.concat([adata[rows], adata[rows]], index_unique="-")
    twice.obs["gene"] = ["non-targeting"] * 20 + ["G3"] * 20
    row = target_change(twice, GENE).iloc[0]
    assert row["target_change"] == 0
    assert row["lower"] == -row["upper"] < 0


def test_empty_cells_are_left_out(adata: ad.AnnData) -> None:
    dense = adata.X.toarray()
    dense[::7] = 0
    adata.X = sparse.csr_matrix(dense)
    pd.testing.assert_frame_equal(
        target_change(adata, GENE), target_change(adata[dense.sum(axis=1) > 0].copy(), GENE)
    )


def test_a_target_without_any_count_has_a_wide_finite_interval(adata: ad.AnnData) -> None:
    dense = adata.X.toarray()
    dense[:, 3] = 0
    adata.X = sparse.csr_matrix(dense)
    row = target_change(adata, GENE).set_index("perturbation").loc["G3"]
    assert row["target_cells"] == row["target_mean"] == row["control_mean"] == 0
    assert row["target_change"] == 0
    # 20 cells without a count tell no more than this
    assert row["upper"] - row["lower"] > 5
    assert np.isfinite([row["lower"], row["upper"]]).all()


def test_without_a_control_only_the_own_mean_is_known(adata: ad.AnnData) -> None:
    expected = target_change(adata, GENE)
    only = adata[adata.obs["gene"] != "non-targeting"].copy()
    table = target_change(only, Columns("gene"))
    own = ["perturbation", "target", "target_cells", "target_mean"]
    pd.testing.assert_frame_equal(table[own], expected[own])
    assert table.drop(columns=own).isna().all(axis=None)


def test_no_measured_target_gives_no_row(adata: ad.AnnData) -> None:
    expected = target_change(adata, GENE)
    adata.var_names = [f"H{i}" for i in range(30)]
    table = target_change(adata, GENE)
    assert table.empty
    assert table.columns.tolist() == expected.columns.tolist()


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """200 labels with a gene each, gamma-Poisson counts, depths that differ, a fourth of the control."""
    rng = np.random.default_rng(0)
    n_labels, n_own, n_control, fold = 200, 30, 300, 0.25
    depth = rng.lognormal(0, 0.5, n_labels * n_own + n_control)[:, None]
    own = np.repeat(np.arange(n_labels), n_own)
    rate = rng.gamma(2.0, 0.5, (len(depth), n_labels))
    rate[np.arange(len(own)), own] *= fold
    counts = np.hstack([rng.poisson(depth * rate), rng.poisson(1000 * depth)])
    names = [f"G{i}" for i in range(n_labels)]
    labels = [*(names[i] for i in own), *["non-targeting"] * n_control]
    obs = pd.DataFrame({"gene": labels}, index=[f"c{i}" for i in range(len(labels))])
    var = pd.DataFrame(index=[*names, "rest"])
    table = target_change(ad.AnnData(counts.astype(np.float32), obs=obs, var=var), GENE)
    holds = (table["lower"] < np.log2(fold)) & (table["upper"] > np.log2(fold))
    assert 0.9 < holds.mean() < 0.99
    assert (table["upper"] < 0).mean() > 0.9


def test_a_wrong_column_is_named(adata: ad.AnnData) -> None:
    with pytest.raises(ScreenError, match="'guide'"):
        target_change(adata, Columns("guide"))
    with pytest.raises(ScreenError, match="'raw'"):
        target_change(adata, Columns("gene", layer="raw"))
