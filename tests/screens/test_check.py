from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from sparseshift.errors import ScreenError
from sparseshift.screens.check import check_screen, find_faults
from sparseshift.screens.columns import Columns

RAW = Path(__file__).parents[2] / "data" / "01_raw"
GENE = Columns("gene", control="non-targeting", batch="batch")
REAL = {
    "papalexi2021_subset": Columns("gene", "non-targeting", "bio_rep"),
    "norman2019_subset": Columns("perturbation", "control", "gemgroup"),
    "datlinger2021_scifi_subset": Columns("gene", "non-targeting", "sample"),
    "schraivogel2020_tapseq": Columns("gene", "non-targeting", "batch"),
}


@pytest.mark.parametrize("backed", [None, "r"])
@pytest.mark.parametrize("name", REAL)
def test_real_screens_pass(name: str, backed: str | None) -> None:
    adata = ad.read_h5ad(RAW / f"{name}.h5ad", backed=backed)
    held_out = [label for label in adata.obs[REAL[name].perturbation].unique() if "+" in label][:2]
    reversed_names = ["+".join(label.split("+")[::-1]) for label in held_out]
    check_screen(adata, REAL[name], held_out=reversed_names)


def test_five_faults_are_reported_at_once(adata: ad.AnnData) -> None:
    dense = adata.X.toarray()
    dense[3, 2], dense[9] = -1, 0
    adata.X = sparse.csr_matrix(dense)
    adata.obs.loc["cell7", "gene"] = "nan"
    adata.var_names = ["G0", "G0", *adata.var_names[2:]]
    columns = Columns("gene", control="nontargeting", batch="batsh")
    with pytest.raises(ScreenError) as error:
        check_screen(adata, columns, held_out=["G9"])
    text = str(error.value)
    assert text.startswith("7 faults in the screen:")
    for number, part in enumerate(
        [
            "var_names: 1 gene names",
            "obs['batsh']: there is no such column",
            "obs['gene']: 1 of 120 cells have no label",
            "obs['gene']: no cell has the control's label 'nontargeting'",
            "held_out: 'G9' is not a perturbation",
            "X: 1 of ",
            "X: 1 of 120 cells have no counts",
        ],
        start=1,
    ):
        assert f"\n\n{number}. {part}" in text
    assert text.count("   cure: ") == 7


@pytest.mark.parametrize(("axis", "kind"), [("obs", "cell"), ("var", "gene")])
def test_duplicate_names(adata: ad.AnnData, axis: str, kind: str) -> None:
    names = getattr(adata, f"{axis}_names").tolist()
    names[4] = names[5] = names[2]
    setattr(adata, f"{axis}_names", names)
    (fault,) = find_faults(adata, GENE)
    assert fault.where == f"{axis}_names"
    assert fault.found == f"2 {kind} names are there more than once"
    assert fault.example == repr(names[2])
    assert f"adata.{axis}_names_make_unique()" in fault.cure
    getattr(adata, f"{axis}_names_make_unique")()
    assert find_faults(adata, GENE) == []


def test_no_cells_and_no_genes(adata: ad.AnnData) -> None:
    (fault,) = find_faults(adata[:0], GENE)
    assert fault.found == "the screen has no cells"
    assert "(0, 30)" in fault.example
    assert "selected cells" in fault.cure
    (fault,) = find_faults(adata[:, :0], GENE)
    assert fault.found == "the screen has no genes"
    assert [f.where for f in find_faults(adata[:0, :0], Columns("x"))] == [
        "obs",
        "var",
        "obs['x']",
    ]


def test_the_screen_is_left_as_it_is(adata: ad.AnnData) -> None:
    adata.layers["counts"] = adata.X.copy()
    adata.obs["gene"] = adata.obs["gene"].astype("category")
    before, view = adata.copy(), adata[5:100, 3:]
    for screen in (adata, view):
        check_screen(
            screen, Columns("gene", "non-targeting", "batch", "counts"), held_out=["G2+G1"]
        )
        check_screen(screen, GENE, held_out=["G3"], empty_cells_allowed=True)
    assert view.is_view
    pd.testing.assert_frame_equal(adata.obs, before.obs)
    np.testing.assert_array_equal(adata.X.toarray(), before.X.toarray())
    np.testing.assert_array_equal(adata.layers["counts"].toarray(), before.X.toarray())


def test_a_view_is_not_copied(adata: ad.AnnData, monkeypatch: pytest.MonkeyPatch) -> None:
    """X of a view is a copy."""
    view, sizes = adata[:100], []
    whole = ad.AnnData.X.fget

    def spy(self: ad.AnnData) -> object:
        if self.is_view:
            sizes.append(self.n_obs)
        return whole(self)

    monkeypatch.setattr(ad.AnnData, "X", property(spy))
    check_screen(view, GENE)
    assert max(sizes, default=0) == 0
