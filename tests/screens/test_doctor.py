import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import sparse

from sparseshift.errors import ScreenError
from sparseshift.screens.check import find_faults
from sparseshift.screens.columns import Columns
from sparseshift.screens.conventions.recognise import recognise
from sparseshift.screens.cut import Cut, cut_screen
from sparseshift.screens.doctor import counts_sample, estimates
from sparseshift.screens.doctor.contents import look
from sparseshift.screens.doctor.examine import Diagnosis, examine
from sparseshift.screens.doctor.settings import Settings, annotation, propose
from sparseshift.screens.doctor.text import diagnosis_text
from sparseshift.screens.filters import Filters, filter_screen
from sparseshift.screens.new_screen import configuration

RAW = Path(__file__).parents[2] / "data" / "01_raw"
BUNDLED = [
    "papalexi2021_subset", "norman2019_subset", "datlinger2021_scifi_subset", "schraivogel2020_tapseq"
]  # fmt: skip
GENES = ["STAT1", "JAK2", "KLF1", *(f"G{i}" for i in range(22))]
GUIDES = [f"{gene}_{i}" for gene in ("NT", "STAT1", "JAK2", "KLF1") for i in (1, 2)]


@pytest.fixture
def screen() -> ad.AnnData:
    """240 cells, 25 genes, guides of three genes and of the control, two lanes."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(rng.gamma(0.6, 2.0, size=25), size=(240, 25))
    counts[:, 0] += 1
    obs = pd.DataFrame(
        {"guide": np.repeat(GUIDES, 30), "lane": np.tile(["a", "b"], 120)},
        index=[f"cell{i}" for i in range(240)],
    )
    obs["target_gene"] = obs["guide"].str[:-2].replace({"NT": "non-targeting"})
    matrix = sparse.csr_matrix(counts, dtype=np.float32)
    return ad.AnnData(matrix, obs=obs, var=pd.DataFrame(index=GENES))


def write(screen: ad.AnnData, folder: Path, name: str = "mine.h5ad") -> Path:
    path = folder / name
    (screen.write_zarr if path.suffix == ".zarr" else screen.write_h5ad)(path)
    return path


def text_of(found: Diagnosis) -> str:
    return diagnosis_text(found, "mine")


def run(cure: str) -> None:
    """The command of a cure."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(cure.partition("python -c ")[2].strip('"'), {})


def cures(found: Diagnosis) -> str:
    return "\n".join(fault.cure for fault in found.faults)


@pytest.mark.parametrize("name", ["mine.h5ad", "mine.zarr"])
@pytest.mark.parametrize("kind", ["dense", "csr", "csc"])
def test_a_sound_file_of_any_storage(
    screen: ad.AnnData, tmp_path: Path, kind: str, name: str
) -> None:
    dense = screen.X.toarray()
    screen.X = {"dense": dense, "csr": screen.X, "csc": sparse.csc_matrix(dense)}[kind]
    found = examine(write(screen, tmp_path, name))
    assert found.faults == []
    assert found.n_sampled is None
    assert found.settings == Settings(Columns("target_gene", "non-targeting", "lane"))
    _, steps = filter_screen(screen, found.settings.columns, Filters())
    assert found.steps is not None
    pd.testing.assert_frame_equal(found.steps, steps)
    assert found.facts is not None
    assert (found.facts.n_perturbations, found.facts.n_control_cells, found.facts.n_batches) == (
        3,
        60,
        2,
    )
    assert (found.facts.n_measured, found.facts.cells) == (3, (60, 60.0, 60))
    text = text_of(found)
    for words in [
        "240 cells x 25 genes",
        f"X: {kind if kind == 'dense' else kind.upper()} float32",
        "Recognised: obs['target_gene'], cell-load/State",
        "obs['guide'] names 6 guides of these genes; it is not needed",
        "3 perturbations, 2 batches",
        "60 control cells (25.0 %); cells of a perturbation: 60 to 60, median 60",
        "3 of 3 perturbed genes are measured",
        "Faults: none",
        "What is left after each step",
        "genes, round 1",
        "to read and filter: about",
        "counts of a fit:",
        "on one core of a server, at the speed of svae_plus; 8 fits:",
        "A configuration that runs:",
        "mine.raw:",
        "--name mine --write; then: kedro run --env mine",
    ]:  # fmt: skip
        assert words in text


def test_labels_that_need_translating_get_a_cut(screen: ad.AnnData, tmp_path: Path) -> None:
    del screen.obs["target_gene"]
    found = examine(write(screen, tmp_path))
    assert found.faults == []
    assert found.settings is not None
    assert found.settings.cut is not None
    assert found.steps is not None
    assert found.steps["step"].tolist()[:2] == ["as published", "labelled"]
    texts = configuration("mine", found.contents, found.settings)
    catalog, parameters = (
        yaml.safe_load(texts[name]) for name in ("catalog.yml", "parameters.yml")
    )
    assert catalog["mine.source"]["type"] == "sparseshift.datasets.LocalFileDataset"
    assert catalog["mine.source"]["filepath"] == str(tmp_path / "mine.h5ad")
    assert catalog["mine.raw"]["type"] == "sparseshift.datasets.AnnDataDataset"
    block = parameters["screens"]["mine"]
    assert block["columns"]["perturbation"] == "perturbation"
    assert block["columns"]["control"] == "control"
    assert block["cut"]["labels"]["column"] == "guide"
    assert block["cut"]["labels"]["controls"] == ["NT_*"]
    assert "2 names of it become 'control'" in text_of(found)


ODD_LABELS = [
    "control", "NT", "NT_1", "JAK2", "JAK2_1", "STAT1", "JAK2+STAT1", "JAK2_STAT1", "JAK2,STAT1", "HLA-A", "sgJAK2",
    "nan", "", "+", "_", "*", "[x", "?", "1", "2.5", "a b", "x|y", "||", "ctrl+ctrl", "(+)-JQ1", "(", "\\", "$",
    "NegCtrl0_NegCtrl0__NegCtrl0_NegCtrl0",
]  # fmt: skip


@pytest.mark.parametrize("seed", range(40))
def test_whatever_is_in_a_file_the_doctor_answers(seed: int, tmp_path: Path) -> None:
    """And what it finds sound, cut, check and filters take, and leave as much of as it said."""
    rng = np.random.default_rng(seed)
    n_cells, n_genes = int(rng.integers(0, 300)), int(rng.integers(1, 8))
    obs = pd.DataFrame(index=[f"cell{i}" for i in range(n_cells)])
    for column in rng.choice(["gene", "condition", "guide_id", "batch", "control", "dose_val"], 4):
        labels = pd.Series(rng.choice(rng.choice(ODD_LABELS, 6), n_cells), index=obs.index)
        numbers = pd.Series(rng.integers(0, 3, n_cells), index=obs.index)
        kinds = [
            labels,
            labels.astype("category"),
            numbers,
            labels.mask(numbers == 0),
            numbers > 1,
        ]
        obs[column] = kinds[rng.integers(5)]
    counts = rng.poisson(0.7, (n_cells, n_genes)).astype(np.float32)
    matrices: list[Any] = [
        counts,
        sparse.csr_matrix(counts),
        sparse.csc_matrix(counts),
        np.log1p(counts),
    ]
    var = pd.DataFrame(index=["JAK2", "STAT1", "G1", "G2", "G3", "G4", "G5"][:n_genes])
    path = write(ad.AnnData(matrices[rng.integers(4)], obs=obs, var=var), tmp_path)
    found = examine(path)
    assert text_of(found)
    assert text_of(examine(path, Settings(Columns("gene", "control", "batch"))))
    if not found.faults:
        assert found.settings is not None
        assert found.steps is not None
        columns, cut = found.settings.columns, found.settings.cut
        raw = ad.read_h5ad(path)
        if cut is not None:
            raw, _ = cut_screen(path, cut, perturbation=columns.perturbation)
        assert find_faults(raw, columns, empty_cells_allowed=True) == []
        _, steps = filter_screen(raw, columns, found.settings.filters)
        assert found.steps["cells"].tolist()[-len(steps) :] == steps["cells"].tolist()


@pytest.mark.parametrize("layer", [None, "counts"])
def test_what_the_doctor_accepts_the_check_accepts(
    screen: ad.AnnData, tmp_path: Path, layer: str | None
) -> None:
    """The cut by its settings is a screen without faults, with the labels that it showed."""
    del screen.obs["target_gene"]
    if layer is not None:
        screen.layers[layer], screen.X = screen.X, screen.X.log1p()
    path = write(screen, tmp_path)
    settings = examine(path).settings
    assert settings is not None
    assert settings.cut is not None
    assert settings.columns.layer == layer
    raw, _ = cut_screen(path, settings.cut, perturbation=settings.columns.perturbation)
    assert find_faults(raw, settings.columns) == []
    assert set(raw.obs["perturbation"]) == {"control", "STAT1", "JAK2", "KLF1"}
    assert raw.obs["guide"].tolist() == screen.obs["guide"].tolist()


@pytest.mark.parametrize("column", ["as it is", "guide", "condition"])
@pytest.mark.parametrize("name", BUNDLED)
def test_the_project_accepts_what_the_doctor_writes(name: str, column: str) -> None:
    from sparseshift.pipelines.parameters import ProjectParameters

    contents = look(RAW / f"{name}.h5ad")
    genes = contents.obs["gene" if "gene" in contents.obs else "perturbation"].astype(str)
    if column == "guide":
        number = pd.Series(np.arange(len(genes)) % 3, index=genes.index).astype(str)
        contents = replace(contents, obs=pd.DataFrame({"guide": genes + "_" + number}))
    elif column == "condition":
        usual = genes.replace({"non-targeting": "ctrl", "control": "ctrl"})
        contents = replace(contents, obs=pd.DataFrame({"condition": usual + "+ctrl"}))
    settings = propose(contents, recognise(contents.obs, contents.var)[0])
    content: dict[str, Any] = {}
    for file in sorted((RAW.parents[1] / "conf" / "base").glob("parameters*.yml")):
        content |= yaml.safe_load(file.read_text())
    own = yaml.safe_load(configuration("own", contents, settings)["parameters.yml"])
    content["run"] |= own["run"]
    content["screens"] |= own["screens"]
    screen = ProjectParameters.check(content).screens["own"]
    assert (screen.cut is not None) == (column == "guide")
    assert screen.columns.control == settings.columns.control


def test_counts_in_a_layer_are_found(screen: ad.AnnData, tmp_path: Path) -> None:
    screen.layers["counts"] = screen.X.copy()
    screen.X = screen.X.log1p()
    path = write(screen, tmp_path)
    found = examine(path)
    assert found.faults == []
    assert found.settings is not None
    assert found.settings.columns.layer == "counts"
    assert "layers['counts'] is used, for X holds no counts." in found.notes
    assert "no counts in its first cells" in text_of(found)
    declared = examine(path, Settings(Columns("target_gene", "non-targeting")))
    (fault,) = declared.faults
    assert fault.where == "X"
    assert "they look log-normalised (log1p)" in fault.found
    assert fault.cure.endswith("layers['counts'] holds whole numbers: set columns.layer: counts.")


def test_counts_in_raw_are_found_and_the_cure_works(screen: ad.AnnData, tmp_path: Path) -> None:
    screen.raw = screen.copy()
    screen.X = screen.X.log1p()
    found = examine(write(screen, tmp_path))
    assert "raw.X: CSR float32" in text_of(found)
    (fault,) = found.faults
    assert "raw.X holds whole numbers" in fault.cure
    run(fault.cure)
    assert examine(tmp_path / "mine_new.h5ad").faults == []


def test_names_that_repeat_and_the_cure_works(screen: ad.AnnData, tmp_path: Path) -> None:
    screen.var_names = ["G1", *GENES[1:]]
    found = examine(write(screen, tmp_path))
    (fault,) = found.faults
    assert (fault.where, fault.example) == ("var_names", "'G1'")
    assert found.steps is not None  # filters can do with it
    run(fault.cure)
    assert examine(tmp_path / "mine_new.h5ad").faults == []


def test_values_that_are_nowhere_counts(screen: ad.AnnData, tmp_path: Path) -> None:
    screen.X = screen.X.log1p()
    found = examine(write(screen, tmp_path))
    (fault,) = found.faults
    assert "give the counts before any normalising" in fault.cure
    assert found.steps is None
    text = text_of(found)
    assert "Faults: 1" in text
    assert "A configuration that runs, once the faults are put right:" in text


def test_every_fault_of_a_declared_screen_at_once(screen: ad.AnnData, tmp_path: Path) -> None:
    screen.X[3, 2] = -1
    path = write(screen, tmp_path)
    columns = Columns("target_gne", "non-targeting", "lane", symbol="symbols")
    found = examine(path, Settings(columns))
    assert [fault.where for fault in found.faults] == [
        "var['symbols']", "obs['target_gne']", "X",
    ]  # fmt: skip
    assert "Did you mean 'target_gene'?" in cures(found)
    text = text_of(found)
    assert "As the configuration says" in text
    assert "perturbation: target_gne, control: non-targeting, batch: lane, symbol: symbols" in text
    assert "What the file suggests:" in text
    assert 'perturbation: "target_gene"' in text
    assert "The configuration runs as it is" not in text
    well = examine(
        path, Settings(Columns("target_gene", "NTC"), held_out=("STAT9",), expected=("JAK9",))
    )
    assert [fault.where for fault in well.faults] == [
        "obs['target_gene']", "held_out", "shared_mechanism", "X",
    ]  # fmt: skip


def test_a_sound_declared_screen_runs_as_it_is(screen: ad.AnnData, tmp_path: Path) -> None:
    found = examine(
        write(screen, tmp_path), Settings(Columns("target_gene", "non-targeting", "lane"))
    )
    assert found.is_declared
    assert text_of(found).endswith("The configuration runs as it is.")


def test_filters_that_leave_nothing_are_faults_with_a_value_that_would_do(
    screen: ad.AnnData, tmp_path: Path
) -> None:
    settings = Settings(
        Columns("target_gene", "non-targeting"), filters=Filters(min_cells_per_perturbation=61)
    )
    (fault,) = examine(write(screen, tmp_path), settings).faults
    assert fault.where == "filter min_cells_per_perturbation=61"
    assert fault.found == "no perturbations remain: all 3 have fewer cells"
    assert fault.cure == "min_cells_per_perturbation=60 would keep it."


def test_a_cut_that_cannot_be_made_is_a_fault(screen: ad.AnnData, tmp_path: Path) -> None:
    path = write(screen, tmp_path)
    good = examine(path).settings
    assert good is not None
    found = examine(path, Settings(good.columns, Cut("guides")))
    (fault,) = found.faults
    assert (fault.where, fault.cure) == ("obs['guides']", "Did you mean 'guide'?")
    found = examine(path, Settings(good.columns, Cut("guide", perturbations=("NOTHING",))))
    assert found.faults[0].found == "no cells remain"


def test_a_file_without_labels(screen: ad.AnnData, tmp_path: Path) -> None:
    screen.obs = screen.obs[["lane"]]
    found = examine(write(screen, tmp_path))
    (fault,) = found.faults
    assert fault.found.startswith("no column looks like labels of perturbations")
    assert fault.example == "columns 'lane'"
    assert "--perturbation COLUMN --control LABEL" in fault.cure
    assert "Nothing was recognised" in text_of(found)


@pytest.mark.parametrize(("layer", "words"), [(None, "X"), ("counts", "layers['counts']")])
def test_a_matrix_that_is_not_there(
    screen: ad.AnnData, tmp_path: Path, layer: str | None, words: str
) -> None:
    if layer is None:
        screen.layers["raw_counts"] = screen.X.copy()
        screen.X = None
    path = write(screen, tmp_path)
    (fault,) = examine(path, Settings(Columns("target_gene", "non-targeting", layer=layer))).faults
    assert (fault.where, fault.found) == (words, "there is no such matrix")
    assert (
        "set columns.layer: raw_counts" in fault.cure
        if layer is None
        else "set columns.layer: null" in fault.cure
    )


def test_values_that_are_no_numbers(screen: ad.AnnData, tmp_path: Path) -> None:
    path = write(screen, tmp_path)
    with h5py.File(path, "r+") as file:
        del file["X"]
        file["X"] = np.full((240, 25), b"a")
        file["X"].attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
    (fault,) = examine(path, Settings(Columns("target_gene", "non-targeting"))).faults
    assert "its values are not real numbers" in fault.found


def test_what_is_no_fault_is_said(screen: ad.AnnData, tmp_path: Path) -> None:
    dense = screen.X.toarray()
    dense[5] = 0
    screen.X = sparse.csr_matrix(dense)
    screen.var_names = [f"ENSG{i:011d}" for i in range(25)]
    screen.obs["cell_line"] = np.tile(["K562", "RPE1"], 120)
    screen.obs["lane"] = np.where(screen.obs["target_gene"] == "STAT1", "a", screen.obs["lane"])
    columns = Columns("target_gene", "non-targeting", "lane")
    notes = "\n".join(examine(write(screen, tmp_path), Settings(columns)).notes)
    for words in [
        "The control has 60 cells only.",
        "identifiers (ENSG00000000000) and no column of var has symbols",
        "1 of 240 cells have no counts (cells 'cell5'): the filter min_counts_per_cell=1 drops them.",
        "obs['cell_line'] has several values ('K562', 'RPE1')",
        "Perturbations spread over the batches otherwise than the control",
    ]:
        assert words in notes
    screen.var["gene_symbol"] = GENES
    notes = "\n".join(examine(write(screen, tmp_path), Settings(columns)).notes)
    assert "set columns.symbol: gene_symbol" in notes
    without = examine(write(screen, tmp_path), Settings(Columns("target_gene")))
    assert "There is no control" in "\n".join(without.notes)


@pytest.mark.parametrize("kind", ["dense", "csr", "csc"])
def test_a_large_matrix_is_sampled(
    screen: ad.AnnData, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All labels are looked at, counts of some cells; of some genes, where it is stored by gene."""
    dense = screen.X.toarray()
    screen.X = {"dense": dense, "csr": screen.X, "csc": sparse.csc_matrix(dense)}[kind]
    path = write(screen, tmp_path)
    exact = examine(path)
    monkeypatch.setattr(counts_sample, "WHOLE_BYTES", 1000)
    monkeypatch.setattr(counts_sample, "BLOCK", 15)
    monkeypatch.setattr(counts_sample, "N_GENES", 20)
    found = examine(path)
    assert found.faults == []
    assert found.n_sampled == (240 if kind == "csc" else 120)
    assert found.facts == exact.facts
    assert found.steps is not None
    assert exact.steps is not None
    assert found.steps["step"].tolist() == [
        "as given",
        "cells, about",
        "perturbations, about",
        "genes, at least",
    ]
    assert found.steps["perturbations"].iloc[-1] == 3
    assert abs(found.steps["genes"].iloc[-1] - exact.steps["genes"].iloc[-1]) <= 3
    assert f"estimated from {found.n_sampled} cells that were read" in text_of(found)
    few = examine(
        path,
        Settings(
            Columns("target_gene", "non-targeting"), filters=Filters(min_cells_per_perturbation=61)
        ),
    )
    assert few.steps is not None
    assert few.steps["perturbations"].iloc[-1] == 0
    screen.X = screen.X * 0.5
    (fault,) = examine(write(screen, tmp_path)).faults
    assert "are not whole numbers" in fault.found


def test_a_file_too_large_for_this_machine_is_cut(
    screen: ad.AnnData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimates, "available_memory", lambda: 10**9)
    found = examine(write(screen, tmp_path))
    assert found.settings is not None
    assert found.settings.cut is not None
    assert found.settings.columns.perturbation == "target_gene"
    assert found.estimates is not None
    assert found.estimates.fits_in_memory
    monkeypatch.setattr(estimates, "available_memory", lambda: 10**8)
    text = text_of(examine(tmp_path / "mine.h5ad"))
    assert "That is more than there is: take fewer perturbations, control cells or genes" in text


def test_the_estimates_add_up() -> None:
    """Against docs/benchmarks.md: 110.7 us a cell and epoch at 4,000 genes, 22.7 at 400."""
    fit = estimates.Fit(max_epochs=1)
    for genes, microseconds in ((400, 22.7), (1200, 44.1), (4000, 110.7)):
        assert fit.seconds(5000, genes) == pytest.approx(5000e-6 * microseconds, rel=0.05)
    assert estimates.Fit(steps=10, batch_size=10).seconds(60, 0) == pytest.approx(2 * 60 * 13e-6)
    counts = sparse.csr_matrix(np.array([[1, 0, 300], [1, 2, 0]], dtype=np.float32))
    size = estimates.Size.of(counts, 2, n_cells=2, n_genes=3)
    assert (size.n_genes, size.n_values, size.dtype.name) == (2, 3, "int16")
    assert size.survey.nbytes() == 2 * 2 * 2 + 4 * 2


def test_memory_of_training_is_what_training_takes(screen: ad.AnnData, tmp_path: Path) -> None:
    from sparseshift.data.compact import Survey
    from sparseshift.data.parts import Parts

    found = examine(write(screen, tmp_path))
    assert found.settings is not None
    assert found.estimates is not None
    left, _ = filter_screen(screen, found.settings.columns, found.settings.filters)
    assert found.estimates.training == Survey.of(Parts.of(left.X)).nbytes()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda _: None, "There is no file"),
        (lambda path: path.write_text("<html>"), "cannot be read as AnnData"),
        (lambda path: h5py.File(path, "w").close(), "holds no AnnData: it lacks obs and var"),
    ],
)
def test_what_is_no_screen_is_refused(tmp_path: Path, make: Any, words: str) -> None:
    make(tmp_path / "mine.h5ad")
    with pytest.raises(ScreenError, match=words):
        examine(tmp_path / "mine.h5ad")


def test_any_label_and_path_can_be_written(screen: ad.AnnData, tmp_path: Path) -> None:
    odd = 'q"uote\\: #{x} é *'
    screen.obs = screen.obs.rename(columns={"target_gene": "perturbation", "lane": odd})
    screen.obs["batch"] = screen.obs.pop(odd)
    screen.obs["perturbation"] = screen.obs["perturbation"].replace(
        {"non-targeting": "Negative control"}
    )
    folder = tmp_path / odd.replace("/", "")
    folder.mkdir()
    found = examine(write(screen, folder))
    assert found.settings is not None
    texts = configuration("off", found.contents, found.settings)
    assert yaml.safe_load(texts["catalog.yml"])["off.raw"]["filepath"] == str(folder / "mine.h5ad")
    parameters = yaml.safe_load(texts["parameters.yml"])
    assert parameters["run"]["screens"] == ["off"]
    assert parameters["screens"]["off"]["columns"]["control"] == "Negative control"
    given = annotation(found.contents, found.settings)
    assert given.steps is None
