"""Laws of AnnDataDataset: what is saved is loaded; what is cut short changes nothing."""

import inspect
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import anndata
import fsspec
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from kedro.io import DataCatalog, DatasetError
from kedro.io.core import Version

from sparseshift.datasets import AnnDataDataset
from sparseshift.errors import ScreenError
from sparseshift.screens.file_guard import refuse_hostile

CELLS, GENES = 30, 5
KINDS = ("h5ad", "zarr")
Handles = Callable[[Path], list[str]]

pytestmark = pytest.mark.filterwarnings("ignore:Writing zarr v2")
each_kind = pytest.mark.parametrize("kind", KINDS)


def example(seed: int = 0) -> anndata.AnnData:
    rng = np.random.default_rng(seed)
    counts = sp.random(CELLS, GENES, density=0.5, format="csr", dtype=np.float32, rng=rng)
    obs = pd.DataFrame(
        {
            "guide": pd.Categorical(["a", "b", None] * (CELLS // 3), categories=["a", "b", "c"]),
            "depth": np.r_[np.inf, np.nan, np.arange(CELLS - 2.0)],
        },
        index=[f"cell{i}" for i in range(CELLS)],
    )
    return anndata.AnnData(
        counts,
        obs=obs,
        var=pd.DataFrame({"symbol": list("vwxyz")}, index=[f"gene{i}" for i in range(GENES)]),
        layers={"raw": counts * 2, "dense": rng.normal(size=(CELLS, GENES))},
        uns={"seed": seed, "nested": {"names": np.array(["p", "q"], dtype=object)}},
    )


def assert_same(one: anndata.AnnData, two: anndata.AnnData) -> None:
    pd.testing.assert_frame_equal(one.obs, two.obs)
    pd.testing.assert_frame_equal(one.var, two.var)
    assert one.layers.keys() == two.layers.keys()
    one_X, two_X = (a.X[:] if a.isbacked else a.X for a in (one, two))
    for left, right in [(one_X, two_X), *((one.layers[k], two.layers[k]) for k in one.layers)]:
        assert getattr(left, "format", None) == getattr(right, "format", None)
        assert left.dtype == right.dtype
        assert abs(left - right).max() == 0
    assert one.uns["seed"] == two.uns["seed"]
    assert list(one.uns["nested"]["names"]) == list(two.uns["nested"]["names"])


@pytest.fixture(params=KINDS)
def dataset(request: pytest.FixtureRequest, tmp_path: Path) -> AnnDataDataset:
    return AnnDataDataset(filepath=tmp_path / "folder" / f"screen.{request.param}")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_round_trip(dataset: AnnDataDataset, tmp_path: Path) -> None:
    assert not dataset.exists()
    for seed in (0, 1):
        dataset.save(example(seed))
        loaded = dataset.load()
        assert isinstance(loaded.X, sp.csr_matrix)
        assert_same(loaded, example(seed))
    assert dataset.exists()
    assert names(tmp_path / "folder") == [Path(dataset._filepath).name]


def test_h5ad_is_compressed_unless_told_otherwise(tmp_path: Path) -> None:
    for save_args, expected in [(None, "gzip"), ({"compression": "lzf"}, "lzf")]:
        AnnDataDataset(filepath=tmp_path / "x.h5ad", save_args=save_args).save(example())
        with h5py.File(tmp_path / "x.h5ad") as file:
            assert file["X/data"].compression == expected


def test_file_format_overrules_the_ending(tmp_path: Path) -> None:
    AnnDataDataset(filepath=tmp_path / "x.dat", file_format="zarr").save(example())
    assert_same(anndata.io.read_zarr(tmp_path / "x.dat"), example())


@each_kind
def test_versions(kind: str, tmp_path: Path) -> None:
    name = f"x.{kind}"
    for seed, version in enumerate(["2020-01-01", "2021-01-01"]):
        made = AnnDataDataset(filepath=tmp_path / name, version=Version(None, version))
        made.save(example(seed))
        assert (tmp_path / name / version / name).exists()
    latest = AnnDataDataset(filepath=tmp_path / name, version=Version(None, None))
    assert latest.load().uns["seed"] == 1
    pinned = AnnDataDataset(filepath=tmp_path / name, version=Version("2020-01-01", None))
    assert pinned.load().uns["seed"] == 0
    with pytest.raises(DatasetError, match="must not exist if versioning"):
        made.save(example())


def test_versions_of_nothing(tmp_path: Path) -> None:
    dataset = AnnDataDataset(filepath=tmp_path / "x.h5ad", version=Version(None, None))
    assert not dataset.exists()
    with pytest.raises(DatasetError, match=r"Did not find any versions for .*x\.h5ad"):
        dataset.load()


def test_backed(tmp_path: Path, handles: Handles) -> None:
    plain = AnnDataDataset(filepath=tmp_path / "x.h5ad")
    plain.save(example())
    dataset = AnnDataDataset(filepath=tmp_path / "x.h5ad", backed="r")
    loaded = dataset.load()
    assert loaded.isbacked
    assert_same(loaded, example())
    for onto_itself in (loaded, loaded[:3]):
        with pytest.raises(DatasetError, match=r"still reads its X from .*x\.h5ad.*to_memory\(\)"):
            plain.save(onto_itself)
    for kind in KINDS:
        other = AnnDataDataset(filepath=tmp_path / f"other.{kind}")
        other.save(loaded)
        assert_same(other.load(), example())
    assert loaded.filename == tmp_path / "x.h5ad", "a save elsewhere leaves the object as it was"
    plain.save(loaded.to_memory())
    loaded.file.close()
    assert not handles(tmp_path)


def test_backed_only_where_it_can_work(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"works for h5ad only, and .*x\.zarr is zarr"):
        AnnDataDataset(filepath=tmp_path / "x.zarr", backed="r")
    with pytest.raises(DatasetError, match=r"needs a local file, and /x\.h5ad is on 'memory'"):
        AnnDataDataset(filepath="memory:///x.h5ad", backed="r")
    with pytest.raises(DatasetError, match=r"backed must be 'r' or left out, not 'r\+'"):
        AnnDataDataset(filepath=tmp_path / "x.h5ad", backed="r+")


@each_kind
def test_remote(kind: str) -> None:
    dataset = AnnDataDataset(filepath=f"memory:///remote/{kind}/x.{kind}")
    try:
        assert not dataset.exists()
        for seed in (0, 1):
            dataset.save(example(seed))
            assert_same(dataset.load(), example(seed))
        assert dataset.exists()
        if kind == "h5ad":
            assert json.loads(dataset.preview())["n_obs"] == CELLS
        else:
            with pytest.raises(
                DatasetError, match=r"No preview of the remote zarr store .*x\.zarr"
            ):
                dataset.preview()
    finally:
        fsspec.filesystem("memory").rm("/remote", recursive=True)


SAVE_HALF = """
import sys, threading, time
from pathlib import Path
import anndata.io
from sparseshift.datasets import AnnDataDataset

paths = sys.argv[1:]
half_way = threading.Barrier(len(paths), action=lambda: print("ready", flush=True))

def half(path, data, **_):
    path = Path(path)
    if ".zarr." in path.name:
        path.mkdir()
        path /= ".zgroup"
    path.write_bytes(b"\\x89HDF\\r\\n\\x1a\\n half of it")
    half_way.wait()
    time.sleep(60)

anndata.io.write_h5ad = anndata.io.write_zarr = half
class Fake:
    isbacked = False
for path in paths:
    threading.Thread(target=AnnDataDataset(filepath=path).save, args=[Fake()]).start()
"""


def test_killed_saves_change_nothing(tmp_path: Path, killed: Callable[..., None]) -> None:
    both = [f"{name}.{kind}" for name in ("old", "new") for kind in KINDS]
    datasets = {name: AnnDataDataset(filepath=tmp_path / name) for name in both}
    for name in both[:2]:
        datasets[name].save(example(0))
    killed(SAVE_HALF, *(str(tmp_path / name) for name in both))
    left = [name for name in names(tmp_path) if name.endswith(".tmp")]
    assert sorted(name.split(".")[1] + "." + name.split(".")[2] for name in left) == sorted(both)
    for name, dataset in datasets.items():
        assert dataset.exists() == name.startswith("old")
        if dataset.exists():
            assert_same(dataset.load(), example(0))
        dataset.save(example(1))
        assert_same(dataset.load(), example(1))
    assert names(tmp_path) == sorted(both)


def test_killed_version_does_not_count(tmp_path: Path, killed: Callable[..., None]) -> None:
    script = SAVE_HALF.replace(
        "(filepath=path)", "(filepath=path, version=Version(None, 'killed'))"
    ).replace("import anndata.io", "import anndata.io\nfrom kedro.io.core import Version")
    killed(script, str(tmp_path / "x.h5ad"))
    assert names(tmp_path / "x.h5ad") == ["killed"]
    dataset = AnnDataDataset(filepath=tmp_path / "x.h5ad", version=Version(None, None))
    assert not dataset.exists()
    dataset.save(example())
    assert dataset.exists()
    assert len(names(tmp_path / "x.h5ad")) == 1, "the killed version is swept"


def test_failed_save_changes_nothing(
    dataset: AnnDataDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset.save(example(0))

    def fail(path: Path, *_: object, **__: object) -> None:
        path.write_text("half")
        raise ValueError("disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(anndata.io, "write_h5ad", fail)
        patch.setattr(anndata.io, "write_zarr", fail)
        with pytest.raises(DatasetError, match="disk is full"):
            dataset.save(example(1))
    assert names(tmp_path / "folder") == [dataset._filepath.name]
    assert_same(dataset.load(), example(0))


def test_missing_file_inside_the_writer_is_not_blamed_on_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise FileNotFoundError("scratch is gone")

    monkeypatch.setattr(anndata.io, "write_h5ad", fail)
    with pytest.raises(DatasetError, match=r"saving data to .*x\.h5ad: scratch is gone"):
        AnnDataDataset(filepath=tmp_path / "x.h5ad").save(example())


@each_kind
def test_versioning_an_unversioned_dataset_is_refused(kind: str, tmp_path: Path) -> None:
    name = f"x.{kind}"
    AnnDataDataset(filepath=tmp_path / name).save(example())
    versioned = AnnDataDataset(filepath=tmp_path / name, version=Version(None, "v1"))
    with pytest.raises(DatasetError, match=r"already exists in the directory|Move the store into"):
        versioned.save(example())
    assert_same(AnnDataDataset(filepath=tmp_path / name).load(), example())


@each_kind
def test_versions_are_not_replaced_by_an_unversioned_save(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{kind}"
    AnnDataDataset(filepath=path, version=Version(None, "v1")).save(example())
    unversioned = AnnDataDataset(filepath=path)
    assert not unversioned.exists()
    with pytest.raises(DatasetError, match=r"is no zarr store|Is a directory"):
        unversioned.save(example())
    assert names(path) == ["v1"]


def test_missing_file_names_the_path(dataset: AnnDataDataset) -> None:
    for read in (dataset.load, dataset.preview):
        with pytest.raises(
            DatasetError, match=rf"There is no .* at {dataset._filepath}\. Run the"
        ):
            read()


def test_empty_folder_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "x.zarr").mkdir()
    dataset = AnnDataDataset(filepath=tmp_path / "x.zarr")
    assert not dataset.exists()
    dataset.save(example())
    assert_same(dataset.load(), example())


@pytest.mark.parametrize("backed", [None, "r"])
def test_damaged_files_are_named_with_a_cure(
    tmp_path: Path, backed: str | None, handles: Handles
) -> None:
    path = tmp_path / "x.h5ad"
    dataset = AnnDataDataset(filepath=path, backed=backed)
    dataset.save(example())
    whole = path.read_bytes()
    for content in (b"", b"<html>Not found</html>" * 100, whole[:3000], whole[:-1]):
        path.write_bytes(content)
        for read in (dataset.load, dataset.preview):
            with pytest.raises(DatasetError, match=r"x\.h5ad is not an HDF5 file.*Delete it and"):
                read()
    with h5py.File(path, "w") as file:
        file["spectra"] = 1
    with pytest.raises(DatasetError, match=r"x\.h5ad is .* holds no AnnData.*spectra"):
        dataset.load()
    assert not handles(tmp_path)


def test_locked_or_forbidden_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = AnnDataDataset(filepath=tmp_path / "x.h5ad")
    dataset.save(example())

    def locked(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "unable to lock file")

    monkeypatch.setattr(h5py, "File", locked)
    with pytest.raises(DatasetError, match=r"(?s)x\.h5ad.*unable to lock file"):
        dataset.load()


@pytest.mark.parametrize("backed", [None, "r"])
def test_hostile_files_are_refused_before_anything_is_read(
    tmp_path: Path, backed: str | None, handles: Handles, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.h5ad"
    dataset = AnnDataDataset(filepath=path, backed=backed)
    dataset.save(example())
    with h5py.File(path, "r+") as file:
        file["uns/leak"] = h5py.ExternalLink("secret.h5", "/x")
    with pytest.raises(ScreenError) as expected:
        refuse_hostile(path)

    def nothing(*_: object, **__: object) -> None:
        raise AssertionError("it was read")

    monkeypatch.setattr(anndata.io, "read_h5ad", nothing)
    monkeypatch.setattr(anndata.io, "read_elem", nothing)
    for read in (dataset.load, dataset.preview):
        with pytest.raises(DatasetError) as error:
            read()
        assert str(error.value) == str(expected.value)
        assert "uns/leak: an external link to '/x' in the file 'secret.h5'" in str(error.value)
    assert not handles(tmp_path)


def test_hostile_remote_files_are_refused(tmp_path: Path) -> None:
    AnnDataDataset(filepath=tmp_path / "x.h5ad").save(example())
    with h5py.File(tmp_path / "x.h5ad", "r+") as file:
        file["uns/leak"] = h5py.ExternalLink("/etc/secret.h5", "/x")
    memory = fsspec.filesystem("memory")
    memory.put(str(tmp_path / "x.h5ad"), "/hostile/x.h5ad")
    dataset = AnnDataDataset(filepath="memory:///hostile/x.h5ad")
    try:
        for read in (dataset.load, dataset.preview):
            with pytest.raises(DatasetError, match=r"(?s)^/hostile/x\.h5ad is refused.*uns/leak"):
                read()
    finally:
        memory.rm("/hostile", recursive=True)


def test_hostile_stores_are_refused(tmp_path: Path) -> None:
    dataset = AnnDataDataset(filepath=tmp_path / "x.zarr")
    dataset.save(example())
    chunk = next(path for path in (tmp_path / "x.zarr/obs/depth").rglob("0*") if path.is_file())
    (tmp_path / "secret").write_bytes(chunk.read_bytes())
    chunk.unlink()
    chunk.symlink_to(tmp_path / "secret")
    for read in (dataset.load, dataset.preview):
        with pytest.raises(DatasetError, match=r"x\.zarr: obs/depth/.* is a symbolic link"):
            read()
    (tmp_path / "x.zarr/obs/link").symlink_to(tmp_path)
    for read in (dataset.load, dataset.preview):
        with pytest.raises(
            DatasetError, match=r"(?s)x\.zarr is refused.*obs/link: a symbolic link"
        ):
            read()


@pytest.mark.parametrize(
    ("filepath", "file_format", "message"),
    [
        ("x.csv", None, r"the ending of x\.csv is 'csv'; allowed are h5ad, zarr"),
        ("x", None, r"the ending of x is ''; allowed are h5ad, zarr"),
        ("x.h5ad", "loom", r"file_format is 'loom'; allowed are h5ad, zarr"),
    ],
)
def test_unknown_format(filepath: str, file_format: str | None, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        AnnDataDataset(filepath=filepath, file_format=file_format)


def test_preview(dataset: AnnDataDataset, tmp_path: Path, handles: Handles) -> None:
    screen = example()
    screen.obs["batch"] = np.arange(CELLS) % 2
    screen.obs["kept"] = np.arange(CELLS) > 3
    screen.obs["empty"] = np.nan
    dataset.save(screen)

    def no_constant(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    shown = json.loads(dataset.preview(), parse_constant=no_constant)
    assert (shown["n_obs"], shown["n_vars"]) == (CELLS, GENES)
    assert shown["layers"] == {"dense": "array", "raw": "csr_matrix"}
    assert shown["obs"] == {
        "guide": {"dtype": "category", "unique": 2, "example": "a"},
        "depth": {"dtype": "float64", "unique": CELLS - 1, "example": "inf"},
        "batch": {"dtype": "int64", "unique": 2, "example": 0},
        "kept": {"dtype": "bool", "unique": 2, "example": False},
        "empty": {"dtype": "float64", "unique": 0, "example": None},
    }
    assert shown["var"]["symbol"]["unique"] == GENES
    assert not handles(tmp_path)


def test_preview_never_reads_counts(tmp_path: Path) -> None:
    dataset = AnnDataDataset(filepath=tmp_path / "x.h5ad")
    dataset.save(example())
    with h5py.File(tmp_path / "x.h5ad", "r+") as file:
        del file["X"], file["layers/raw/data"]
    assert json.loads(dataset.preview())["n_obs"] == CELLS


def test_viz_recognises_the_preview() -> None:
    annotation = inspect.signature(AnnDataDataset.preview).return_annotation
    assert getattr(annotation, "__name__", str(annotation)) == "JSONPreview"


def test_no_handle_is_kept(dataset: AnnDataDataset, tmp_path: Path, handles: Handles) -> None:
    dataset.save(example())
    loaded = dataset.load()
    assert not handles(tmp_path)
    assert not loaded.isbacked


def test_pickled_dataset_works(dataset: AnnDataDataset) -> None:
    dataset.save(example())
    copy = pickle.loads(pickle.dumps(dataset))
    assert_same(copy.load(), example())
    copy.save(example(1))
    dataset.release()
    assert_same(dataset.load(), example(1))


def test_catalog_entry(tmp_path: Path) -> None:
    entry = {
        "type": "sparseshift.datasets.AnnDataDataset",
        "filepath": str(tmp_path / "x.h5ad"),
        "versioned": True,
        "metadata": {"kedro-viz": {"layer": "primary"}},
    }
    catalog = DataCatalog.from_config({"screen": entry})
    catalog.save("screen", example())
    assert_same(catalog.load("screen"), example())
    assert catalog.exists("screen")
    assert "x.h5ad" in repr(catalog["screen"])
    secret = {**entry, "filepath": "memory:///x.h5ad", "credentials": {"key": "hush"}}
    assert "hush" not in repr(DataCatalog.from_config({"screen": secret})["screen"])


def test_bad_catalog_entry_keeps_the_message(tmp_path: Path) -> None:
    entry = {"type": "sparseshift.datasets.AnnDataDataset", "filepath": str(tmp_path / "x.csv")}
    with pytest.raises(DatasetError, match="allowed are h5ad, zarr"):
        _ = DataCatalog.from_config({"screen": entry})["screen"]


def test_import_is_light() -> None:
    script = """
import sys
import sparseshift.datasets
import sparseshift.datasets.anndata, sparseshift.datasets.directory
sparseshift.datasets.AnnDataDataset(filepath="x.h5ad")
heavy = {"anndata", "h5py", "zarr", "pandas", "scanpy", "matplotlib", "torch"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
assert "FigureDataset" in dir(sparseshift.datasets)
try:
    sparseshift.datasets.Nothing
except AttributeError as error:
    assert "Nothing" in str(error)
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", script], check=True)
