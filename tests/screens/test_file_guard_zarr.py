"""Laws of the file guard on .zarr: each kind of hostile store is refused, each honest one passes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pytest
import zarr
from scipy import sparse

from sparseshift.errors import ScreenError
from sparseshift.screens.doctor.contents import look
from sparseshift.screens.file_guard import open_zarr, refuse_hostile, refuse_hostile_zarr
from sparseshift.screens.hostile import zarr as rules
from sparseshift.screens.hostile import zarr_documents

GROUP: dict[int, dict[str, Any]] = {
    2: {"zarr_format": 2},
    3: {"zarr_format": 3, "node_type": "group", "attributes": {}},
}
SECRET = b"password"

pytestmark = pytest.mark.filterwarnings(
    "ignore:Writing zarr v2",
    "ignore:zarr v3 autosharding",
    "ignore:Consolidated metadata",
    "ignore:The data type",
)
each_format = pytest.mark.parametrize("version", [2, 3])


def array(version: int, **changes: Any) -> dict[str, Any]:
    """Metadata of eight bytes in one chunk."""
    if version == 2:
        plain = {"compressor": None, "filters": None, "fill_value": 0, "order": "C"}
        return GROUP[2] | plain | {"shape": [8], "chunks": [8], "dtype": "|u1"} | changes
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [8],
        "data_type": "uint8",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [8]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": [{"name": "bytes"}],
        "attributes": {},
        **changes,
    }


def put(folder: Path, document: dict[str, Any]) -> Path:
    """Write the document of an array or group; returns where an array has its only chunk."""
    folder.mkdir(parents=True, exist_ok=True)
    if document["zarr_format"] == 3:
        (folder / "zarr.json").write_text(json.dumps(document))
        (folder / "c").mkdir(exist_ok=True)
        return folder / "c" / "0"
    name = ".zarray" if "shape" in document else ".zgroup"
    (folder / name).write_text(json.dumps(document))
    return folder / "0"


@pytest.fixture
def root(tmp_path: Path, version: int) -> Path:
    put(tmp_path / "x.zarr", GROUP[version])
    return tmp_path / "x.zarr"


def refusal(path: Path) -> str:
    with pytest.raises(ScreenError) as error:
        refuse_hostile(path)
    text = str(error.value)
    assert text.startswith(f"{path} is refused, and none of its data were read:\n1. ")
    assert text.endswith("adata.write_zarr(path), which stores all data plainly inside.")
    with pytest.raises(ScreenError):
        open_zarr(path)
    return text


# Code


CODE = b"cos\nputenv\n(S'x'\nS'y'\ntR."  # a pickle that calls os.putenv("x", "y")


@pytest.mark.parametrize("version", [2])
def test_pickle_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    monkeypatch.setattr(os, "putenv", lambda *_: ran.append("code"))
    filters = [{"id": "vlen-utf8"}, {"id": "pickle"}]
    put(root / "a", array(2, dtype="|O", fill_value="", filters=filters)).write_bytes(CODE)
    # Older releases of numcodecs have no such switch: they unpickle.
    monkeypatch.setattr("numcodecs.pickles.ALLOW_UNSAFE_PICKLE_DECODE", True, raising=False)
    with pytest.raises(TypeError):
        _ = zarr.open_group(root, mode="r")["a"][:]
    assert ran, "it is dangerous"
    ran.clear()
    assert "1. a: the codec 'pickle', which is not one of plain data" in refusal(root)
    assert not ran


@pytest.mark.parametrize("version", [2])
@pytest.mark.parametrize(
    ("changes", "codec"),
    [
        ({"compressor": {"id": "pickle"}}, "pickle"),
        ({"filters": [{"id": "pickle"}]}, "pickle"),
        ({"filters": {"id": "pickle"}}, "pickle"),
        ({"dtype": "|O", "filters": [{"id": "json2"}]}, "json2"),
        ({"dtype": "|O", "filters": [{"id": "vlen-array", "dtype": "<f8"}]}, "vlen-array"),
        ({"compressor": "pickle"}, "pickle"),
        ({"compressor": {"id": "made up"}}, "made up"),
        ({"compressor": {}}, "None"),
    ],
)
def test_codecs_of_format_2(changes: dict[str, Any], codec: str, root: Path) -> None:
    put(root / "a", array(2, **changes))
    assert f"1. a: the codec {codec!r}, which is not one of plain data" in refusal(root)


@pytest.mark.parametrize("version", [3])
@pytest.mark.parametrize("codec", ["pickle", "numcodecs.pickle", "made up", ""])
@pytest.mark.parametrize("sharded", [True, False])
def test_codecs_of_format_3(codec: str, sharded: bool, root: Path) -> None:
    codecs: list[Any] = [{"name": "bytes"}, {"name": codec, "configuration": {}}]
    if sharded:
        inner = {"chunk_shape": [4], "codecs": codecs, "index_codecs": [{"name": "bytes"}]}
        codecs = [{"name": "sharding_indexed", "configuration": inner}]
    put(root / "a", array(3, codecs=codecs))
    assert f"1. a: the codec {codec!r}, which is not one of plain data" in refusal(root)


@pytest.mark.parametrize("version", [2])
@pytest.mark.parametrize(
    ("dtype", "filters"),
    [
        ("|O", None),
        ("|O", [{"id": "delta", "dtype": "<f8"}]),
        ([["a", "<f8"], ["b", "|O"]], [{"id": "vlen-utf8"}]),
        ([["a", [["b", "|O"]]]], None),
        ([["a", "|O", [2]]], None),
    ],
)
def test_objects_that_are_no_strings(dtype: Any, filters: Any, root: Path) -> None:
    put(root / "a", array(2, dtype=dtype, filters=filters))
    assert "Python objects that are no strings" in refusal(root)


@pytest.mark.parametrize("version", [2])
@pytest.mark.parametrize("dtype", ["nonsense", 5, None, {}, [["a"]], [[1, 2]], "(((", ["<f8"]])
def test_types_that_do_not_exist(dtype: Any, root: Path) -> None:
    put(root / "a", array(2, dtype=dtype))
    assert "1. a: unknown type" in refusal(root)


# Other files


@each_format
def test_a_chunk_that_is_a_link_is_never_followed(
    root: Path, version: int, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_bytes(SECRET)
    put(root / "a", array(version)).symlink_to(tmp_path / "secret")
    assert zarr.open_group(root, mode="r")["a"][:].tobytes() == SECRET, "it is dangerous"
    group = open_zarr(root)
    with pytest.raises(ScreenError, match=r"x\.zarr: a/.*0 is a symbolic link .*write_zarr"):
        _ = group["a"][:]


@each_format
def test_groups_and_documents_that_are_links(root: Path, version: int, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    put(outside / "a", array(version)).write_bytes(SECRET)
    put(outside, GROUP[version])
    (root / "group").symlink_to(outside)
    (root / "array").symlink_to(outside / "a")
    assert zarr.open_group(root, mode="r")["array"][:].tobytes() == SECRET, "it is dangerous"
    text = refusal(root)
    assert f"group: a symbolic link to '{outside}'" in text
    assert f"array: a symbolic link to '{outside / 'a'}'" in text
    for name in ("group", "array"):
        (root / name).unlink()
    (root / "b").mkdir()
    name = "zarr.json" if version == 3 else ".zarray"
    (root / "b" / name).symlink_to(outside / "a" / name)
    assert f"b: {name} is a symbolic link or otherwise no plain file" in refusal(root)


@each_format
def test_links_in_a_circle(root: Path, version: int) -> None:
    put(root / "group", GROUP[version])
    (root / "group" / "again").symlink_to("..")
    assert "1. group/again: a symbolic link to '..'" in refusal(root)


@pytest.mark.parametrize("version", [2])
def test_a_pipe_does_not_hang_the_reader(root: Path) -> None:
    os.mkfifo(put(root / "a", array(2)))
    with pytest.raises(ScreenError, match="otherwise no plain file"):
        _ = open_zarr(root)["a"][:]
    os.mkfifo(root / ".zmetadata")
    assert "/: .zmetadata is a symbolic link or otherwise no plain file" in refusal(root)


@each_format
@pytest.mark.parametrize("name", ["../secret", "a/../../secret", "/etc", "..\\secret", ".."])
def test_consolidated_names_stay_inside(root: Path, version: int, name: str) -> None:
    consolidate(root, version, {name: array(version)})
    shown = (name + "/.zarray" if version == 2 else name).replace("\\", "\\\\")
    assert f"1. /: consolidated metadata name '{shown}', outside the store" in refusal(root)


def consolidate(root: Path, version: int, members: dict[str, Any]) -> None:
    if version == 3:
        metadata = {"kind": "inline", "must_understand": False, "metadata": members}
        put(root, GROUP[3] | {"consolidated_metadata": metadata})
        return
    documents = {f"{name}/.zarray": document for name, document in members.items()}
    metadata = {"zarr_consolidated_format": 1, "metadata": {".zgroup": GROUP[2], **documents}}
    (root / ".zmetadata").write_text(json.dumps(metadata))


@each_format
def test_consolidated_metadata_are_judged_too(root: Path, version: int) -> None:
    codec = {"filters": [{"id": "pickle"}]} if version == 2 else {"codecs": [{"name": "pickle"}]}
    put(root / "a", array(version))  # honest where it lies
    consolidate(root, version, {"a": array(version, **codec)})
    assert "1. a: the codec 'pickle'" in refusal(root)


@each_format
def test_an_array_that_hides_in_an_array(root: Path, version: int) -> None:
    codec = {"filters": [{"id": "pickle"}]} if version == 2 else {"codecs": [{"name": "pickle"}]}
    put(root / "a", array(version))
    put(root / "a" / "hidden", array(version, **codec))
    group = open_zarr(root)
    with pytest.raises(ScreenError, match=r"a/hidden: the codec 'pickle'"):
        _ = group["a/hidden"]


@pytest.mark.parametrize("version", [2])
def test_the_store_does_not_leave_its_folder(root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(SECRET)
    store = open_zarr(root).store
    for key in ("../secret", str(tmp_path / "secret")):
        assert (store.root / key).read_bytes() == SECRET
        with pytest.raises(ScreenError, match="lies outside the store"):
            store.get_sync(key)


# Sizes


@each_format
def test_absurd_shapes(root: Path, version: int) -> None:
    put(root / "a", array(version, shape=[10**13]))
    assert "1. a: its shape (10000000000000,) means 9.09 TiB, all arrays together" in refusal(root)


@each_format
def test_absurd_chunks(root: Path, version: int) -> None:
    grid = {"name": "regular", "configuration": {"chunk_shape": [10**13]}}
    put(
        root / "a",
        array(version, **({"chunks": [10**13]} if version == 2 else {"chunk_grid": grid})),
    )
    assert "1. a: its shape (8,) means 9.09 TiB" in refusal(root)


@pytest.mark.parametrize(
    ("version", "kind"),
    [
        (2, {"dtype": "|S1000000000"}),
        (3, {"data_type": {"name": "raw_bytes", "configuration": {"length_bytes": 10**9}}}),
        (3, {"data_type": "r8000000000"}),
    ],
)
def test_absurd_types(root: Path, version: int, kind: dict[str, Any]) -> None:
    put(root / "a", array(version, **kind))
    assert "1. a: its shape (8,) means 7.45 GiB" in refusal(root)


@each_format
@pytest.mark.parametrize("shape", [[-1], [1.5], "8", [True], [[8]], None, {"a": 1}])
def test_shapes_are_whole_numbers(shape: Any, root: Path, version: int) -> None:
    put(root / "a", array(version, shape=shape))
    assert f"1. a: shape {shape!r} in chunks of [8]" in refusal(root)


@pytest.mark.parametrize("version", [2])
def test_consolidated_shapes_do_not_hide_behind_others(root: Path) -> None:
    put(root / "a", array(2))
    consolidate(root, 2, {"a": array(2, shape=[10**13])})
    assert "1. a: its shape (10000000000000,)" in refusal(root)


@each_format
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[1]", "is not a JSON object"),
        (b"\xff\xfe\xfd", "is not JSON"),
        (b'{"shape": ' + b"9" * 10_000 + b"}", "is not JSON"),
    ],
)
def test_documents_that_are_none(content: bytes, message: str, root: Path, version: int) -> None:
    name = "zarr.json" if version == 3 else ".zarray"
    (root / "a").mkdir()
    (root / "a" / name).write_bytes(content)
    assert f"1. a: {name} {message}" in refusal(root)


@each_format
def test_documents_have_a_largest_size(
    root: Path, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(root / "a", array(version, attributes={"long": "x" * 2000}))
    for module in (rules, zarr_documents):
        monkeypatch.setattr(module, "LARGEST", 1000)
    assert "bytes; at most 1000 are read" in refusal(root)


@each_format
def test_the_walk_ends(root: Path, version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "MOST_FOLDERS", 20)
    for i in range(30):
        put(root / f"g{i}", GROUP[version])
    text = refusal(root)
    assert "the store has no end: over 20 folders or 50 levels" in text
    assert "\n2. " not in text


@each_format
def test_depth_has_a_limit(root: Path, version: int) -> None:
    deep = root
    for _ in range(60):
        deep /= "g"
        put(deep, GROUP[version])
    assert "the store has no end" in refusal(root)


def saved(adata: anndata.AnnData, path: Path, version: int) -> Path:
    with anndata.settings.override(zarr_write_format=version):
        adata.write_zarr(path)
    return path


@each_format
def test_matrices_must_agree_with_obs_and_var(
    version: int, adata: anndata.AnnData, tmp_path: Path
) -> None:
    path = saved(adata, tmp_path / "x.zarr", version)
    attributes = path / "X" / ("zarr.json" if version == 3 else ".zattrs")
    attributes.write_text(attributes.read_text().replace("120", "1000000000000"))
    (path / ".zmetadata").unlink(missing_ok=True)
    if version == 3:
        put(path, GROUP[3])
    text = refusal(path)
    assert "X: a sparse matrix of shape (1000000000000, 30), with indptr of shape (121,)" in text
    assert "X: its shape is (1000000000000, 30), but obs has 120 rows and var has 30" in text


# What is honest, and how little is looked at


@each_format
def test_what_anndata_writes_passes(version: int, adata: anndata.AnnData, tmp_path: Path) -> None:
    adata.layers["dense"] = np.zeros(adata.shape)
    adata.layers["columns"] = sparse.csc_matrix(adata.X)
    adata.obs["flag"] = np.arange(120) > 3
    adata.raw = adata
    record = np.array([("G1", 1.5)], dtype=[("a", "U8"), ("b", "f4")])
    adata.uns |= {"ranked": {"names": record}, "empty": {}, "words": np.array(["a", "b"]), "n": 1}
    path = saved(adata, tmp_path / "x.zarr", version)
    refuse_hostile(path)
    assert len(look(path).obs) == 120
    again = anndata.io.read_zarr(open_zarr(path))
    np.testing.assert_array_equal(again.X.toarray(), adata.X.toarray())
    (path.parent / "link").symlink_to(path)
    assert anndata.io.read_zarr(open_zarr(path.parent / "link")).shape == adata.shape


@each_format
def test_chunks_are_not_listed(root: Path, version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chunk = put(root / "group" / "a", array(version, shape=[8 * 10**6]))
    put(root / "group", GROUP[version])
    chunk.write_bytes(SECRET)
    listed: list[Path] = []
    scandir = os.scandir

    def noted(path: str) -> Any:
        listed.append(Path(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", noted)
    refuse_hostile_zarr(root)
    assert listed == [root, root / "group"]


@each_format
def test_a_large_store_is_counted_only_as_far_as_needed(
    root: Path, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunk = put(root / "a", array(version, shape=[10**10]))
    for i in range(500):
        chunk.with_name(str(i)).write_bytes(bytes(10**6))
    counted: list[str] = []

    def size_of(entry: os.DirEntry[str]) -> int:
        counted.append(entry.name)
        return entry.stat().st_size

    monkeypatch.setattr(rules, "_size_of", size_of)
    refuse_hostile_zarr(root)
    assert len(counted) < 20


def test_the_rules_do_not_import_zarr() -> None:
    script = """
import sys
from pathlib import Path
from sparseshift.screens.file_guard import refuse_hostile_zarr
refuse_hostile_zarr(Path(sys.argv[1]))
assert not {"zarr", "h5py", "anndata"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", script, str(Path(__file__).parent)], check=True)
