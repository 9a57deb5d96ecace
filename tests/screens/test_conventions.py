from collections.abc import Callable
from functools import cache
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import published_files
import pytest

from sparseshift.screens.columns import Columns, canonical
from sparseshift.screens.conventions.batch_column import find_batch, find_covariates
from sparseshift.screens.conventions.control_names import find_controls, is_control, patterns_for
from sparseshift.screens.conventions.gene_names import find_symbols
from sparseshift.screens.conventions.guide_names import find_guides
from sparseshift.screens.conventions.label_reading import read_labels
from sparseshift.screens.conventions.recognise import Proposal, recognise
from sparseshift.screens.cut import LabelRule

RAW = Path(__file__).parents[2] / "data" / "01_raw"
TRUTH = {
    "papalexi2021_subset": Columns("gene", "non-targeting", "bio_rep"),
    "norman2019_subset": Columns("perturbation", "control", "gemgroup"),
    "datlinger2021_scifi_subset": Columns("gene", "non-targeting"),
    "schraivogel2020_tapseq": Columns("gene", "non-targeting", "batch"),
}
GUIDES = {
    "papalexi2021_subset": "gRNA",
    "datlinger2021_scifi_subset": "gRNA",
    "schraivogel2020_tapseq": "gRNA",
}
CONTROL = "the control"
Frames = tuple[pd.DataFrame, pd.DataFrame]


@cache
def frames(name: str) -> Frames:
    screen = ad.read_h5ad(RAW / f"{name}.h5ad", backed="r")
    return screen.obs.copy(), screen.var.copy()


@cache
def truth(name: str) -> pd.Series:
    """The canonical label of each cell, the control under one name."""
    columns = TRUTH[name]
    labels = canonical(frames(name)[0][columns.perturbation], columns.control)
    return labels.replace({columns.control: CONTROL})


def read(proposal: Proposal, obs: pd.DataFrame) -> pd.Series:
    """The same by a proposal."""
    labels = proposal.rule.apply(obs[proposal.column])
    return labels.replace({proposal.control: CONTROL})


def rewrite(labels: pd.Series, write: Callable[[list[str], int], str]) -> pd.Series:
    """Each cell's label anew, from its genes (none for the control) and a number that varies."""
    genes = [[] if label == CONTROL else label.split("+") for label in labels]
    written = [write(of_cell, i) for i, of_cell in enumerate(genes)]
    return pd.Series(written, index=labels.index).astype("category")


def gears(labels: pd.Series, var: pd.DataFrame) -> Frames:
    def write(genes: list[str], i: int) -> str:
        both = [*genes, "ctrl"] if len(genes) < 2 else genes
        return "ctrl" if not genes else "+".join(both if i % 2 else both[::-1])

    obs = pd.DataFrame({"condition": rewrite(labels, write)})
    obs["cell_type"] = "K562"
    obs["condition_name"] = "K562_" + obs["condition"].astype(str) + "_1+1"
    obs["dose_val"] = "1+1"
    obs["control"] = (labels == CONTROL).astype(int)
    return obs, var


def scperturb(labels: pd.Series, var: pd.DataFrame) -> Frames:
    written = rewrite(labels, lambda genes, _: "_".join(genes[::-1]) or "control")
    obs = pd.DataFrame(
        {"perturbation": written, "perturbation_type": "CRISPR", "tissue_type": "cell_line"}
    )
    obs["nperts"] = [0 if label == CONTROL else label.count("+") + 1 for label in labels]
    obs["guide_id"] = rewrite(
        labels, lambda genes, i: "_".join(f"{g}-{i % 3}" for g in genes) or f"NT-{i % 4}"
    )
    return obs, var


def state(labels: pd.Series, var: pd.DataFrame) -> Frames:
    written = rewrite(labels, lambda genes, _: "+".join(genes) or "non-targeting")
    obs = pd.DataFrame({"target_gene": written, "cell_type": "K562", "cell_line": "K562"})
    obs["guide_id"] = rewrite(
        labels, lambda genes, i: f"{'+'.join(genes) or 'non-targeting'}_{i % 5:05d}"
    )
    return obs, var


def cellxgene(labels: pd.Series, var: pd.DataFrame) -> Frames:
    written = rewrite(
        labels, lambda genes, i: " || ".join(f"{g}-{i % 3 + 1}" for g in genes) or f"NT-{i % 9}"
    )
    obs = pd.DataFrame(
        {"genetic_perturbation_id": written, "donor_id": "K562", "assay": "10x 3' v3"}
    )
    obs["genetic_perturbation_strategy"] = np.where(
        labels == CONTROL, "control", "CRISPR knockout screen"
    )
    obs["suspension_type"] = "cell"
    names = pd.Index([f"ENSG{i:011d}" for i in range(len(var))])
    return obs, pd.DataFrame(
        {"feature_name": var.index.astype(str), "feature_biotype": "gene"}, index=names
    )


def replogle(labels: pd.Series, var: pd.DataFrame) -> Frames:
    gene = rewrite(labels, lambda genes, _: "+".join(genes) or "non-targeting").astype(str)
    number = np.arange(len(gene)) % 2
    obs = pd.DataFrame(
        {
            "gene": gene,
            "gene_id": "ENSG000001" + gene.rank(method="dense").astype(int).astype(str).str.zfill(5),
            "transcript": "P1P2",
            "gene_transcript": [f"{i}_{g}_P1P2" for i, g in zip(number, gene, strict=True)],
            "sgID_AB": [
                f"{g}_{i:05d}|{g}_{i + 5:05d}" if g == "non-targeting" else f"{g}_+_{i}7.23-P1P2|{g}_-_{i}9.23-P1P2"
                for i, g in zip(number, gene, strict=True)
            ],
        }
    )  # fmt: skip
    names = pd.Index([f"ENSG{i:011d}" for i in range(len(var))], name="gene_id")
    return obs, pd.DataFrame({"chr": "chr1", "gene_name": var.index.astype(str)}, index=names)


def sc_pert(labels: pd.Series, var: pd.DataFrame) -> Frames:
    def write(genes: list[str], i: int) -> str:
        pair = {0: [f"NegCtrl{i % 12}", "NegCtrl0"], 1: ["NegCtrl0", *genes], 2: genes}[len(genes)]
        pair = pair[::-1] if len(genes) == 1 and i % 2 else pair
        number = "_2" if len(genes) == 2 and genes[0].startswith("MAP") else ""
        return f"{'_'.join(pair)}__{'_'.join(pair)}{number}"

    return pd.DataFrame({"guide_identity": rewrite(labels, write), "read_count": 5}), var


def guides_alone(labels: pd.Series, var: pd.DataFrame) -> Frames:
    obs = pd.DataFrame(
        {
            "guide": rewrite(
                labels,
                lambda genes, i: "+".join(f"{g}_{i % 3 + 1}" for g in genes) or f"NT_{i % 7}",
            )
        }
    )
    return obs, var


CONVENTIONS = {
    "GEARS": gears,
    "scPerturb": scperturb,
    "cell-load/State": state,
    "CELLxGENE": cellxgene,
    "Replogle 2022": replogle,
    "sc-pert": sc_pert,
    "no published convention": guides_alone,
}


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("name", TRUTH)
def test_a_bundled_screen_in_any_convention_is_read_as_it_is(name: str, convention: str) -> None:
    """Same label for every cell, same control, same batch, same gene symbols."""
    labels, batch = truth(name), TRUTH[name].batch
    obs, var = CONVENTIONS[convention](labels, frames(name)[1])
    if batch is not None:
        obs[batch] = frames(name)[0][batch]
    best = recognise(obs, var)[0]
    assert best.convention == convention
    assert read(best, obs).tolist() == labels.tolist()
    assert best.batch == batch
    symbols = var.index if best.symbol is None else pd.Index(var[best.symbol])
    assert symbols.tolist() == frames(name)[1].index.tolist()


@pytest.mark.parametrize(
    "control", ["NT", "ctrl", "NegCtrl", "neg", "Non-Targeting", "safe_targeting", "NTC"]
)
@pytest.mark.parametrize("name", TRUTH)
def test_a_control_of_any_usual_name_is_found(name: str, control: str) -> None:
    labels = truth(name).replace({CONTROL: control})
    obs = pd.DataFrame({"what": labels})
    best = recognise(obs, frames(name)[1])[0]
    assert best.control == control
    assert not best.translates
    assert read(best, obs).tolist() == truth(name).tolist()


@pytest.mark.parametrize("name", TRUTH)
def test_the_bundled_screens_as_they_are(name: str) -> None:
    """The gene-level column is taken, and the one with guides is named as such."""
    obs, var = frames(name)
    best, *others = recognise(obs, var)
    columns = TRUTH[name]
    assert (best.column, best.control, best.batch, best.symbol) == (
        columns.perturbation, columns.control, columns.batch, None,
    )  # fmt: skip
    assert not best.translates
    if name in GUIDES:
        assert GUIDES[name] in [other.column for other in others]
        assert f"obs['{GUIDES[name]}'] names" in " ".join(best.reasons)
        assert "it is not needed" in " ".join(best.reasons)


def test_files_with_the_published_layout() -> None:
    norman, replogle = published_files.norman(), published_files.replogle()
    best = recognise(norman.obs, norman.var)[0]
    assert (best.convention, best.column, best.batch) == ("scPerturb", "perturbation", "gemgroup")
    assert best.rule == LabelRule(("control",), "control", separator="_")
    best, *others = recognise(replogle.obs, replogle.var)
    assert (best.convention, best.column, best.batch) == ("Replogle 2022", "gene", "gem_group")
    assert (best.symbol, best.translates) == ("gene_name", False)
    pairs = next(other for other in others if other.column == "sgID_AB")
    assert read(pairs, replogle.obs).tolist() == read(best, replogle.obs).tolist()


@pytest.mark.parametrize("name", GUIDES)
def test_the_guides_of_the_bundled_screens_become_their_genes(name: str) -> None:
    obs, var = frames(name)
    alone = obs[[GUIDES[name]]]
    best = recognise(alone, var)[0]
    genes = truth(name).str.removesuffix("-enhancer")  # a word of the bundled file alone
    assert read(best, alone).tolist() == genes.tolist()
    assert "what is not the gene is cut off" in " ".join(best.reasons)


@pytest.mark.parametrize(
    ("names", "genes"),
    [
        (["JAK2_3", "JAK2_1", "STAT1_1"], {"JAK2", "STAT1"}),
        (["JAK2-2", "JAK2-1", "STAT1-1"], {"JAK2", "STAT1"}),
        (["JAK2.2", "JAK2.1", "STAT1.1"], {"JAK2", "STAT1"}),
        (["sgJAK2-1", "sgJAK2-2", "sgSTAT1-1"], {"JAK2", "STAT1"}),
        (["sgJAK2", "sgSTAT1"], {"JAK2", "STAT1"}),
        (["JAK2g2", "JAK2g1", "IFNGR1g3"], {"JAK2", "IFNGR1"}),
        (["JAK2_sg1", "JAK2_gRNA2", "STAT1_guide-3"], {"JAK2", "STAT1"}),
        (["AAAS_+_53715438.23-P1P2", "AAAS_-_53715355.23-P1P2"], {"AAAS"}),
        (["JAK2_ACGTACGTACGTACGTACGT", "JAK2_GGGTACGTACGTACGTACGT"], {"JAK2"}),
        (["JAK2_KO", "STAT1_KO"], {"JAK2", "STAT1"}),
        (["HLA-A_1", "HLA-A_2", "RP5-862P8.2_1", "RP5-862P8.2_2"], {"HLA-A", "RP5-862P8.2"}),
        (["NKX2-1-1", "NKX2-1-2", "HLA-A-1", "HLA-A-2"], {"NKX2-1", "HLA-A"}),
        (["GATA1-A", "GATA1-B", "JAK2-A"], {"GATA1", "JAK2"}),
        (["MY_LIB_JAK2_1", "MY_LIB_JAK2_2", "MY_LIB_STAT1_1", "MY_LIB_AAAS_1"], {"JAK2", "STAT1", "AAAS"}),
    ],
)  # fmt: skip
def test_guides_become_genes(names: list[str], genes: set[str]) -> None:
    measured = {"JAK2", "STAT1", "IFNGR1", "NKX2-1", "HLA-A", "GATA1"}
    found = find_guides(names, measured)
    assert found is not None
    rule = LabelRule(separator=None, part=found.expression)
    assert {rule.canonical(name) for name in names} == genes
    assert (found.n_guides, found.n_genes) == (len(names), len(genes))


@pytest.mark.parametrize(
    "names",
    [
        ["H4C3", "IFNGR1", "IFNGR2", "STAT5A", "STAT5B"],
        ["HLA-A", "HLA-B", "HLA-C", "HLA-DRA"],
        ["NKX2-1", "NKX2-5", "NKX3-1", "NKX3-2"],
        ["KRTAP5-1", "KRTAP5-2", "C1-INH", "JAK2", "STAT1", "TRIM6-TRIM34"],
        ["AC004988.1", "AC006129.2", "AC009133.20", "RP5-862P8.2", "RP5-862P8.3"],
        ["Atg5", "Atg7", "Atg12", "Jag1", "Jag2", "Rag1"],
        ["GATA1-enhancer", "HS2-enhancer", "MYC-enhancer"],
        ["JAK2_high", "JAK2_low", "STAT1_high"],
        ["PERK_only", "IRE1_only"],
        [],
    ],
)  # fmt: skip
@pytest.mark.parametrize("measured", [False, True])
def test_genes_stay_what_they_are(names: list[str], measured: bool) -> None:
    assert find_guides(names, names if measured else ()) is None


@pytest.mark.parametrize(
    "name",
    [
        "control",
        "ctrl",
        "Control",
        "non-targeting",
        "Non-Targeting",
        "non_targeting",
        "NT",
        "NTC",
        "NT_1",
        "NTg1",
        "NT-12",
        "neg",
        "Neg",
        "NegCtrl",
        "NegCtrl0",
        "NegCtrl10_NegCtrl0",
        "safe-targeting",
        "safe_targeting_12",
        "scrambled",
        "sgNT-1",
        "Negative_control",
        "unperturbed",
        "untreated",
        "DMSO",
        "WT",
        "WT_1",
        "mock",
        "non-targeting_00012",
        "LIB_non-targeting_00025",
        "ctrl+ctrl",
    ],
)
def test_usual_controls(name: str) -> None:
    assert is_control(name)


@pytest.mark.parametrize(
    "name",
    [
        "WT1",
        "NTF3",
        "NT5E",
        "NTRK1",
        "CONT1",
        "CON1",
        "NEGR1",
        "SAFB",
        "A+ctrl",
        "CTLA4",
        "JAK2",
        "JAK2_control",
    ],
)
def test_what_is_no_control(name: str) -> None:
    assert not is_control(name)


def test_a_harmless_target_is_the_control_for_want_of_another() -> None:
    assert find_controls(["AAVS1_1", "JAK2_1"]) == ({"AAVS1_1"}, True)
    assert find_controls(["AAVS1", "NT", "JAK2"]) == ({"NT"}, False)
    assert find_controls(["JAK2", "STAT1"]) == (set(), False)
    reading = read_labels(pd.Series(["AAVS1", "JAK2", "STAT1"]))
    assert reading is not None
    assert not reading.is_sure
    assert "for want of another" in " ".join(reading.reasons)


def test_patterns_match_controls_alone() -> None:
    assert patterns_for(["NTg1", "NTg2", "NTg10"], ["JAK2g1"]) == ("NTg*",)
    assert patterns_for(["NT1", "NT2"], ["NT5E"]) == ("NT1", "NT2")
    assert patterns_for(["a*b"], []) == ("a[*]b",)
    assert LabelRule(("a[*]b",), "c").canonical("a*b") == "c"


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["CBL_CNN1", "TGFBR2_IGDCC3_2", "CBL", "TGFBR2", "control"], ["CBL+CNN1", "IGDCC3+TGFBR2", "CBL", "TGFBR2", "control"]),
        (["NT_JAK2", "STAT1_NT", "NT_NT"], ["JAK2", "STAT1", "NT"]),
        (["JAK2,STAT1", "JAK2", "STAT1", "neg"], ["JAK2+STAT1", "JAK2", "STAT1", "neg"]),
        (["JAK2;STAT1", "JAK2", "neg"], ["JAK2+STAT1", "JAK2", "neg"]),
        (["JAK2_high", "JAK2_low", "STAT1_high", "STAT1_low", "NT"], ["JAK2_high", "JAK2_low", "STAT1_high", "STAT1_low", "NT"]),
        (["non_targeting", "JAK2", "HLA-A"], ["non_targeting", "JAK2", "HLA-A"]),
        (["(+)-JQ1", "DMSO", "bortezomib"], ["(plus)-JQ1", "DMSO", "bortezomib"]),
        (["Control", "control", "JAK2"], ["control", "control", "JAK2"]),
    ],
)  # fmt: skip
def test_labels_are_read(labels: list[str], expected: list[str]) -> None:
    reading = read_labels(pd.Series(labels), {"JAK2", "STAT1"})
    assert reading is not None
    assert list(reading.labels.values()) == expected
    assert [reading.rule.canonical(label) for label in labels] == expected


def test_cells_of_which_nothing_is_known_are_left_out() -> None:
    obs = pd.DataFrame({"gene": ["JAK2", "STAT1", "NT", "unassigned", "nan", None] * 5})
    (best,) = recognise(obs, pd.DataFrame(index=["JAK2", "STAT1"]))
    assert best.drop == {"gene": ("unassigned", "nan")}
    assert best.reading.n_missing == 5
    assert best.translates
    assert (
        "cells with 'unassigned', 'nan' and 5 cells without a label are left out" in best.reasons
    )


def test_another_column_may_say_which_label_is_the_control() -> None:
    obs = pd.DataFrame({"condition": ["CHEMBL504", "CHEMBL1", "CHEMBL2"] * 9})
    obs["control"] = (obs["condition"] == "CHEMBL504").astype(int)
    obs["cov_drug_dose_name"], obs["dose_val"], obs["split"] = "A549", 1.0, "train"
    (best,) = recognise(obs, pd.DataFrame(index=["JAK2"]))
    assert (best.convention, best.control) == ("CPA", "CHEMBL504")
    assert "'CHEMBL504' is the control, as another column says" in best.reasons
    assert not best.translates


def test_a_screen_without_a_control_is_read_too() -> None:
    obs = pd.DataFrame({"gene": ["JAK2", "STAT1", "JAK2"] * 4})
    (best,) = recognise(obs, pd.DataFrame(index=["JAK2", "STAT1"]))
    assert best.control is None
    assert "none of its labels looks like a control: name it if there is one" in best.reasons


def test_nothing_is_recognised_where_there_are_no_labels() -> None:
    obs = pd.DataFrame(
        {"leiden": ["0", "1"] * 4, "depth": np.arange(8), "batch": ["ctrl", "stim"] * 4}
    )
    assert recognise(obs, pd.DataFrame(index=["JAK2"])) == []
    assert recognise(pd.DataFrame(index=list("ab")), pd.DataFrame(index=["JAK2"])) == []


def test_several_readings_are_offered_best_first() -> None:
    """Stimulation may be called `condition` and have a control of its own."""
    obs = pd.DataFrame(
        {"condition": ["control", "IFNG"] * 30, "target": ["NT", "JAK2", "STAT1"] * 20}
    )
    first, second = recognise(obs, pd.DataFrame(index=["JAK2", "STAT1", "IFNG2"]))
    assert (first.column, second.column) == ("target", "condition")
    assert first.score > second.score


@pytest.mark.parametrize(
    ("var", "column", "words"),
    [
        (pd.DataFrame(index=["JAK2", "HLA-A"]), None, "the names of var are gene symbols"),
        (pd.DataFrame({"feature_name": ["JAK2", "HLA-A"]}, index=["ENSG00000096968", "ENSG00000206503.2"]), "feature_name", "has the symbols"),
        (pd.DataFrame({"Gene_Symbol": ["Jak2", "Stat1"]}, index=["ENSMUSG00000096968", "ENSMUSG00000206503"]), "Gene_Symbol", "has the symbols"),
        (pd.DataFrame({"label": ["JAK2", "STAT1"], "chr": ["c", "c"]}, index=["3717", "6772"]), "label", "looks like symbols"),
        (pd.DataFrame({"gene_name": ["ENSG00000096968", "ENSG00000206503"]}, index=["ENSG00000096968", "ENSG00000206503"]), None, "no column of var has symbols"),
    ],
)  # fmt: skip
def test_gene_symbols_are_found(var: pd.DataFrame, column: str | None, words: str) -> None:
    found = find_symbols(var)
    assert found.column == column
    assert words in found.reason


def test_a_batch_has_enough_cells_and_is_not_the_perturbation() -> None:
    labels = pd.Series(np.repeat(["A", "B", "C", "NT"], 60), name="gene")
    obs = pd.DataFrame(
        {"gene": labels, "sample": np.arange(240) % 120, "plate": np.repeat(["p1", "p2"], 120)}
    )
    found, why = find_batch(obs, labels)
    assert found is None
    assert "obs['sample'] has 2 cells in each of 120, too few for a batch" in why
    assert "most perturbations lie in one value of obs['plate'] only" in why
    obs["lane"] = np.tile(["l1", "l2"], 120)
    assert find_batch(obs, labels) == (
        "lane",
        "obs['lane'] is a usual name of the batch, and has 2 batches",
    )


def test_what_models_are_not_told_of_is_said() -> None:
    obs = pd.DataFrame({"cell_type": ["T", "B"] * 3, "dose_val": [1.0, 2.0, 3.0] * 2})
    cell_type, dose = find_covariates(obs, {"gene"})
    assert "cut.drop: {cell_type: [...]}" in cell_type
    assert "whatever its dose" in dose
    assert find_covariates(obs[["cell_type"]], {"cell_type"}) == []
