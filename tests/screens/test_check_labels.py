import anndata as ad
import numpy as np
import pandas as pd
import pytest

from sparseshift.screens.check_labels import find_label_faults, looks_like_control
from sparseshift.screens.columns import Columns
from sparseshift.screens.faults import Fault

GENE = Columns("gene", control="non-targeting", batch="batch")


def only(faults: list[Fault]) -> Fault:
    assert len(faults) == 1, "\n".join(map(str, faults))
    return faults[0]


def relabel(adata: ad.AnnData, old: str, new: object) -> None:
    adata.obs["gene"] = [new if label == old else label for label in adata.obs["gene"]]


@pytest.mark.parametrize(
    "label",
    [
        "control",
        "Ctrl",
        "non-targeting",
        "NT",
        "neg",
        "NegCtrl0",
        "safe-targeting",
        "non_targeting_00028",
        "Scrambled",
    ],
)
def test_usual_controls(label: str) -> None:
    assert looks_like_control(label)


@pytest.mark.parametrize("label", ["WT1", "NTF3", "STAT1", "CNTN1", "NEGR1", "A+B", "SAFB"])
def test_genes_are_no_controls(label: str) -> None:
    assert not looks_like_control(label)


def test_a_good_screen_has_no_faults(adata: ad.AnnData) -> None:
    assert find_label_faults(adata, GENE, held_out=["G2+G1", "G3"]) == []
    assert find_label_faults(adata, Columns("gene"), held_out="G3") == []


def test_missing_column_near_match(adata: ad.AnnData) -> None:
    fault = only(find_label_faults(adata, Columns("Genes", control="non-targeting")))
    assert fault.where == "obs['Genes']"
    assert "no such column (option perturbation)" in fault.found
    assert "'gene', 'batch', 'depth'" in fault.example
    assert "Did you mean 'gene'?" in fault.cure


@pytest.mark.parametrize(
    ("control", "held"), [("non-targeting", "non-targeting"), ("nobody", "non-targeting")]
)
def test_missing_column_likely_one_holds_a_control(
    adata: ad.AnnData, control: str, held: str
) -> None:
    fault = only(find_label_faults(adata, Columns("condition", control=control)))
    assert f"'gene' holds '{held}'" in fault.cure
    assert "perturbation='gene'" in fault.cure


def test_missing_column_nothing_likely(adata: ad.AnnData) -> None:
    adata.obs = adata.obs[["depth"]]
    fault = only(find_label_faults(adata, Columns("condition", control="x")))
    assert "one of the columns there are" in fault.cure
    adata.obs = adata.obs[[]]
    assert only(find_label_faults(adata, Columns("condition"))).example == ""


def test_missing_batch_column(adata: ad.AnnData) -> None:
    fault = only(find_label_faults(adata, Columns("gene", "non-targeting", batch="well")))
    assert fault.where == "obs['well']"
    assert "option batch" in fault.found
    assert "'batch' is a usual name" in fault.cure


@pytest.mark.parametrize("value", [None, np.nan, "", " ", "nan", "NaN", "<NA>"])
@pytest.mark.parametrize("column", ["gene", "batch"])
@pytest.mark.parametrize("dtype", ["object", "category"])
def test_unnamed_labels(adata: ad.AnnData, value: object, column: str, dtype: str) -> None:
    values = adata.obs[column].tolist()
    values[3], values[50] = value, value
    adata.obs[column] = pd.Series(values, index=adata.obs_names, dtype=dtype)
    fault = only(find_label_faults(adata, GENE))
    assert fault.where == f"obs['{column}']"
    assert "2 of 120 cells have no label" in fault.found
    assert "cell 'cell3'" in fault.example
    assert "cell 'cell50'" in fault.example
    assert "notna()" in fault.cure
    assert ("replace(" in fault.cure) == isinstance(value, str)


def test_the_cure_for_unnamed_labels_works(adata: ad.AnnData) -> None:
    adata.obs["gene"] = pd.Categorical(["nan", "", *adata.obs["gene"].tolist()[2:]])
    assert find_label_faults(adata, GENE)
    adata.obs["gene"] = adata.obs["gene"].astype(object).replace(["", "nan"], None)
    adata = adata[adata.obs["gene"].notna()].copy()
    assert adata.n_obs == 118
    assert find_label_faults(adata, GENE) == []


@pytest.mark.parametrize("kind", ["float", "bool", "category"])
def test_numbers_are_no_labels(adata: ad.AnnData, kind: str) -> None:
    values: object = {
        "float": adata.obs["depth"],
        "bool": adata.obs["depth"] > 20,
        "category": adata.obs["depth"].astype("category"),
    }[kind]
    adata.obs["dose"] = values
    fault = only(find_label_faults(adata, Columns("dose", control="0")))
    assert fault.where == "obs['dose']"
    assert "numbers (" in fault.found
    assert fault.example
    assert "column with the names" in fault.cure


def test_whole_numbers_become_strings(adata: ad.AnnData) -> None:
    adata.obs["guide"] = np.arange(120) % 4
    assert find_label_faults(adata, Columns("guide", control="0"), held_out=["3"]) == []


def test_control_near_match(adata: ad.AnnData) -> None:
    fault = only(find_label_faults(adata, Columns("gene", control="Non_Targeting")))
    assert fault.where == "obs['gene']"
    assert "'Non_Targeting'" in fault.found
    assert "'G1', 'G1+G2', 'G2', 'G3', 'non-targeting'" in fault.example
    assert "Set control='non-targeting'" in fault.cure


def test_control_by_another_usual_name(adata: ad.AnnData) -> None:
    fault = only(find_label_faults(adata, Columns("gene", control="ctrl")))
    assert "Did you mean 'non-targeting'?" in fault.cure
    for name in ("control", "ctrl", "NT", "neg", "NegCtrl", "safe-targeting"):
        assert name in fault.cure


def test_no_control_at_all(adata: ad.AnnData) -> None:
    relabel(adata, "non-targeting", "G4")
    fault = only(find_label_faults(adata, Columns("gene", control="control")))
    assert "None if there are none" in fault.cure


def test_only_control(adata: ad.AnnData) -> None:
    adata.obs["gene"] = "non-targeting"
    fault = only(find_label_faults(adata, GENE))
    assert "all 120 cells are the control 'non-targeting'" in fault.found
    assert "Set perturbation" in fault.cure
    fault = only(find_label_faults(adata, Columns("gene")))
    assert "one label and there is no control" in fault.found


def test_parts_that_are_the_control_by_another_name(adata: ad.AnnData) -> None:
    relabel(adata, "G3", "G3+ctrl")
    fault = only(find_label_faults(adata, GENE))
    assert "1 combinations (20 cells)" in fault.found
    assert "'ctrl' looks like a control, but the control is 'non-targeting'" in fault.found
    assert "'G3+ctrl'" in fault.example
    assert "'G3+ctrl' to 'G3'" in fault.cure
    fault = only(find_label_faults(adata, Columns("gene")))
    assert "no control is named" in fault.found


def test_parts_that_are_the_named_control_are_dropped(adata: ad.AnnData) -> None:
    relabel(adata, "G3", "G3+non-targeting")
    assert find_label_faults(adata, GENE, held_out=["G3"]) == []


@pytest.mark.parametrize("label", ["G3+", "G3+nan"])
def test_parts_without_a_name(adata: ad.AnnData, label: str) -> None:
    relabel(adata, "G3", label)
    fault = only(find_label_faults(adata, GENE))
    assert "a part is" in fault.found
    assert f"{label!r} to 'G3'" in fault.cure


def test_held_out_that_is_not_there(adata: ad.AnnData) -> None:
    fault = only(find_label_faults(adata, GENE, held_out=["g3", "G1"]))
    assert fault.where == "held_out"
    assert "'g3' is not a perturbation" in fault.found
    assert "'G1', 'G1+G2', 'G2', 'G3'" in fault.example
    assert "Did you mean 'G3'" in fault.cure


def test_held_out_control(adata: ad.AnnData) -> None:
    fault = only(find_label_faults(adata, GENE, held_out=["non-targeting"]))
    assert "'non-targeting' is the control" in fault.found
    assert "Leave it out" in fault.cure


def test_all_held_out(adata: ad.AnnData) -> None:
    fault = only(find_label_faults(adata, GENE, held_out=["G1", "G2", "G3", "G1+G2"]))
    assert "all 4 perturbations are held out" in fault.found
