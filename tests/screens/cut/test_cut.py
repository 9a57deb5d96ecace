import json
import os
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
from anndata import AnnData
from published_files import listed, norman, replogle, write_legacy
from scipy import sparse

from sparseshift.errors import OptionError, ScreenError
from sparseshift.screens.cut import Cut, LabelRule, cut_screen, parts, rows

CONTROL = LabelRule(("non-targeting",), "non-targeting", separator=None)
PAPER = Cut(
    "gene",
    CONTROL,
    perturbations=tuple(listed("perturbation_modules")),
    n_control_cells=50,
    genes=tuple(listed("expression_programs")),
    symbol="gene_name",
)


@pytest.fixture(scope="module")
def published() -> AnnData:
    return replogle()


@pytest.fixture(scope="module")
def file(published: AnnData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_legacy(published, tmp_path_factory.mktemp("published") / "K562.h5ad")


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So small that a small file has many blocks and pieces."""
    monkeypatch.setattr(rows, "BLOCK_BYTES", 2**11)
    monkeypatch.setattr(rows, "PIECE_BYTES", 2**13)
    monkeypatch.setattr(rows, "GAP_BYTES", 2**9)


def wanted(screen: AnnData, cut: Cut) -> tuple[np.ndarray, np.ndarray]:
    """The cells, but for the draw of controls, and the genes that a cut takes, in pandas' words."""
    gene = screen.obs["gene"].astype(str)
    symbol = screen.var["gene_name"].astype(str)
    return gene.isin(cut.perturbations or ()).to_numpy(), symbol.isin(cut.genes or ()).to_numpy()


def test_the_papers_cut(published: AnnData, file: Path) -> None:
    screen, steps = cut_screen(file, PAPER, perturbation="gene")
    cells, genes = wanted(published, PAPER)
    control = (screen.obs["gene"] == "non-targeting").to_numpy()
    assert control.sum() == 50
    assert list(screen.obs_names[~control]) == list(published.obs_names[cells])
    assert list(screen.var_names) == list(published.var_names[genes])
    original = published[screen.obs_names, screen.var_names]
    np.testing.assert_array_equal(screen.X.toarray(), original.X)
    assert screen.X.has_sorted_indices
    assert screen.obs["gem_group"].tolist() == original.obs["gem_group"].tolist()
    # two of the columns that are not translated
    assert (
        screen.obs["sgID_AB"].astype(str).tolist() == original.obs["sgID_AB"].astype(str).tolist()
    )
    assert (
        screen.var["gene_name"].astype(str).tolist()
        == original.var["gene_name"].astype(str).tolist()
    )
    assert json.loads(screen.uns["cut"])["cells"] == 900
    assert steps["step"].tolist() == [
        "as published", "labelled", "listed perturbations", "control cells", "listed genes",
    ]  # fmt: skip
    notes = steps["note"].tolist()
    assert steps["cells"].iloc[-1] == screen.n_obs
    assert steps["genes"].tolist() == [61, 61, 61, 61, 41]
    assert steps.loc[2, "dropped"] == "UNLISTED1, UNLISTED2"
    assert "of 681 listed genes are perturbed here; not: " in notes[2]
    assert notes[3].endswith("drawn with seed 0")
    assert notes[4].startswith(
        "40 of 1186 listed symbols are measured; more than once, all kept: "
    )


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("chunks", [None, (7, 61), (100, 5), (900, 61)])
def test_dense_files_of_any_storage_give_the_same(
    published: AnnData, file: Path, tmp_path: Path, chunks: tuple[int, int] | None
) -> None:
    import h5py

    path = write_legacy(published, tmp_path / "other.h5ad")
    with h5py.File(path, "r+") as handle:
        counts = handle["X"][:]
        del handle["X"]
        packed = {} if chunks is None else {"chunks": chunks, "compression": "gzip"}
        handle.create_dataset("X", data=counts, **packed)
    same(
        cut_screen(path, PAPER, perturbation="gene")[0],
        cut_screen(file, PAPER, perturbation="gene")[0],
    )


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("kind", ["dense", "csr", "csc"])
@pytest.mark.parametrize("ending", ["h5ad", "zarr"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_kind_of_file_gives_the_same(
    published: AnnData,
    file: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    small: bool,
    kind: str,
    ending: str,
) -> None:
    if small:
        request.getfixturevalue("small_blocks")
    make: dict[str, Callable] = {
        "dense": np.asarray,
        "csr": sparse.csr_matrix,
        "csc": sparse.csc_matrix,
    }
    copy = AnnData(make[kind](published.X), obs=published.obs, var=published.var)
    copy.layers["counts"] = copy.X
    path = tmp_path / f"screen.{ending}"
    getattr(copy, f"write_{ending}")(path)
    expected = cut_screen(file, PAPER, perturbation="gene")[0]
    same(cut_screen(path, PAPER, perturbation="gene")[0], expected)
    layer = Cut(**{**PAPER.__dict__, "layer": "counts"})
    same(cut_screen(path, layer, perturbation="gene")[0], expected)


def same(one: AnnData, other: AnnData) -> None:
    assert list(one.obs_names) == list(other.obs_names)
    assert list(one.var_names) == list(other.var_names)
    for name in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(one.X, name), getattr(other.X, name))
    assert one.X.dtype == np.float32


def test_the_draw_of_control_cells_is_of_its_seed(file: Path) -> None:
    def drawn(**changes: object) -> set[str]:
        cut = Cut(**{**PAPER.__dict__, **changes})
        screen = cut_screen(file, cut, perturbation="gene")[0]
        return set(screen.obs_names[screen.obs["gene"] == "non-targeting"])

    assert drawn() == drawn()
    assert drawn() != drawn(seed=1)
    assert drawn(n_control_cells=0) == set()
    assert drawn() < drawn(n_control_cells=None) == drawn(n_control_cells=10**6)


def test_guide_pairs_instead_of_genes(published: AnnData, file: Path) -> None:
    rule = LabelRule(("non-targeting*",), "non-targeting", separator=None)
    screen, _ = cut_screen(
        file, Cut("sgID_AB", rule, symbol="gene_name"), perturbation="guide_pair"
    )
    assert screen.n_obs == published.n_obs
    labels = screen.obs["guide_pair"].astype(str)
    assert (labels == "non-targeting").sum() == (published.obs["gene"] == "non-targeting").sum()
    assert not labels.str.contains("+", regex=False).any()
    per_gene = (
        labels[labels != "non-targeting"].groupby(screen.obs["gene"], observed=True).nunique()
    )
    assert set(per_gene[per_gene > 0]) == {2}


def test_doubles_are_sorted_and_a_guide_pair_dropped(tmp_path: Path) -> None:
    published = norman()
    published.write_h5ad(tmp_path / "norman.h5ad")
    bad = "NegCtrl1_NegCtrl0__NegCtrl1_NegCtrl0"
    by_label = Cut(
        "perturbation",
        LabelRule(("control",), "control", separator="_"),
        drop={"guide_id": (bad,)},
    )
    screen, steps = cut_screen(tmp_path / "norman.h5ad", by_label, perturbation="perturbation")
    assert set(screen.obs["perturbation"]) == {
        "control", "KLF1", "CBL", "CNN1", "SET", "BAK1", "CBL+CNN1", "KLF1+SET", "BAK1+KLF1",
    }  # fmt: skip
    n_bad = int((published.obs["guide_id"] == bad).sum())
    assert n_bad > 0
    assert screen.n_obs == published.n_obs - n_bad
    notes = steps["note"].tolist()
    assert notes[1] == f"{n_bad} cells with '{bad}'"
    # the same from the guides, as the file of sc-pert names them
    rule = LabelRule(("NegCtrl*",), "control", separator="_", pattern="^(.+?)__")
    by_guide = Cut("guide_id", rule, drop={"guide_id": (bad,)})
    other, _ = cut_screen(tmp_path / "norman.h5ad", by_guide, perturbation="perturbation")
    assert other.obs["perturbation"].tolist() == screen.obs["perturbation"].tolist()


@pytest.mark.usefixtures("small_blocks")
def test_a_cut_that_was_stopped_goes_on(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = cut_screen(file, PAPER, perturbation="gene")[0]
    read: list[rows.Piece] = []
    original = rows.DenseReader.read

    def stopped(self: rows.DenseReader, piece: rows.Piece, seen: rows.Seen) -> sparse.csr_matrix:
        read.append(piece)
        if len(read) == 5:
            raise KeyboardInterrupt
        return original(self, piece, seen)

    monkeypatch.setattr(rows.DenseReader, "read", stopped)
    with pytest.raises(KeyboardInterrupt):
        cut_screen(file, PAPER, perturbation="gene", folder=tmp_path)
    assert len(list(tmp_path.glob("*/*.safetensors"))) == 4
    again = cut_screen(file, PAPER, perturbation="gene", folder=tmp_path)[0]
    same(again, whole)
    assert len(set(read)) == len(read) - 1  # only the piece that was stopped was read twice
    n_read = len(read)
    same(cut_screen(file, PAPER, perturbation="gene", folder=tmp_path)[0], whole)
    assert len(read) == n_read
    os.utime(file)  # a file that may have changed is read anew
    cut_screen(file, PAPER, perturbation="gene", folder=tmp_path)
    assert len(read) > n_read
    assert not list(tmp_path.glob("*/*.part"))


def test_memory_is_that_of_a_block_and_a_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of numpy's arrays, as tracemalloc counts them."""
    import tracemalloc

    rng = np.random.default_rng(0)
    screen = AnnData(rng.poisson(0.2, (4000, 1000)).astype(np.float32))
    screen.obs["gene"] = np.where(np.arange(4000) % 10, "other", "A")
    screen.write_h5ad(tmp_path / "large.h5ad")
    monkeypatch.setattr(rows, "BLOCK_BYTES", 2**20)
    monkeypatch.setattr(rows, "PIECE_BYTES", 2**21)
    cut = Cut("gene", LabelRule(), perturbations=("A",))
    cut_screen(tmp_path / "large.h5ad", cut, perturbation="gene")  # imports
    tracemalloc.start()
    found, _ = cut_screen(tmp_path / "large.h5ad", cut, perturbation="gene")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    output = found.X.data.nbytes + found.X.indices.nbytes + found.X.indptr.nbytes
    assert screen.X.nbytes == 16e6
    assert peak - output < 4e6


def test_a_disk_without_room_is_named(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.numpy.save_file", full)
    with pytest.raises(
        ScreenError, match=r"could not be written .*Make room there, or name another folder"
    ):
        cut_screen(file, PAPER, perturbation="gene", folder=tmp_path)
    assert not list(tmp_path.glob("*/*"))
    assert parts.FORMAT == 1


def test_what_cannot_be_cut_is_refused(published: AnnData, file: Path, tmp_path: Path) -> None:
    def refused(match: str, path: Path = file, **changes: object) -> None:
        cut = Cut(**{**PAPER.__dict__, **changes})
        with pytest.raises(ScreenError, match=match):
            cut_screen(path, cut, perturbation="gene")

    refused("There is no file", tmp_path / "none.h5ad")
    (tmp_path / "page.h5ad").write_text("<html>403</html>")
    refused("not an HDF5 file|cannot be opened", tmp_path / "page.h5ad")
    refused(
        r"(?s)obs\['gen'\]: the file has no such column.*Did you mean 'gene'\?", label_column="gen"
    )
    refused(r"(?s)var\['symbol'\].*no such column", symbol="symbol")
    refused(r"(?s)no cells remain.*kedro doctor", perturbations=("NOPE",), n_control_cells=0)
    refused(r"(?s)no genes remain.*set symbol to the var column", genes=("NOPE",))
    refused("has no layer 'counts'. Layers: none", layer="counts")
    with pytest.raises(OptionError, match="n_control_cells is -1"):
        Cut("gene", n_control_cells=-1)
    truncated = tmp_path / "short.h5ad"
    truncated.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    refused("was cut short|cut short|truncated", truncated)
    other = ad.AnnData(published.X[:, :5], obs=published.obs, var=published.var.iloc[:5])
    other.write_h5ad(tmp_path / "other.h5ad")
    import h5py

    with h5py.File(tmp_path / "other.h5ad", "r+") as handle:
        del handle["X"]
        handle.create_dataset("X", data=np.zeros((3, 5), dtype=np.float32))
    refused("shape|disagree", tmp_path / "other.h5ad")


def test_places_outside_of_a_sparse_matrix_are_refused(published: AnnData, tmp_path: Path) -> None:
    import h5py

    sparse_copy = AnnData(sparse.csr_matrix(published.X), obs=published.obs, var=published.var)
    sparse_copy.write_h5ad(tmp_path / "damaged.h5ad")
    with h5py.File(tmp_path / "damaged.h5ad", "r+") as handle:
        handle["X/indices"][5] = 10**6
    with pytest.raises(
        ScreenError, match=r"values in columns .* but only 61 columns. The file is damaged"
    ):
        cut_screen(tmp_path / "damaged.h5ad", PAPER, perturbation="gene")
