"""Laws of the file guard on .h5ad: each kind of hostile file is refused unread, each honest one passes."""

import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from h5py import h5d, h5p, h5r, h5s, h5t
from scipy import sparse

from sparseshift.errors import ScreenError
from sparseshift.screens.doctor.contents import look
from sparseshift.screens.file_guard import refuse_hostile, refuse_hostile_h5ad
from sparseshift.screens.hostile import h5ad as rules

Change = Callable[[h5py.File], object]
RAW = Path(__file__).parents[2] / "data" / "01_raw"
pytestmark = pytest.mark.filterwarnings("ignore::anndata.OldFormatWarning")
SECRET = np.frombuffer(b"password", dtype=np.uint8)


@pytest.fixture
def path(adata: anndata.AnnData, tmp_path: Path) -> Path:
    path = tmp_path / "screen.h5ad"
    adata.uns["nested"] = {"deeper": {"n": 1}}
    adata.write_h5ad(path)
    return path


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file of the reader's own, next to the hostile one; HDF5 and raw bytes at once."""
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["d/x"] = SECRET
    return secret


def change(path: Path, *changes: Change) -> None:
    with h5py.File(path, "r+") as file:
        for each in changes:
            each(file)


def refusal(path: Path) -> str:
    with pytest.raises(ScreenError) as error:
        refuse_hostile(path)
    text = str(error.value)
    assert text.startswith(f"{path} is refused, and none of its data were read:\n1. ")
    assert text.endswith("adata.write_h5ad(path), which stores all data plainly inside.")
    return text


def dataset(file: h5py.File, name: str, kind: h5t.TypeID, layout: Any = None) -> None:
    parent, name = file.require_group(name.rpartition("/")[0]), name.rpartition("/")[2]
    h5d.create(parent.id, name.encode(), kind, h5s.create_simple((8,)), layout)


# Other files


def external_link(file: h5py.File) -> None:
    file["uns/leak"] = h5py.ExternalLink("secret.h5", "/d/x")


def external_storage(file: h5py.File) -> None:
    secret = Path(file.filename).with_name("secret.h5")
    layout = h5p.create(h5p.DATASET_CREATE)
    layout.set_external(b"secret.h5", secret.read_bytes().index(SECRET.tobytes()), 8)
    dataset(file, "uns/leak", h5t.STD_U8LE, layout)


def virtual_dataset(file: h5py.File) -> None:
    layout = h5py.VirtualLayout(shape=(8,), dtype="u1")
    layout[:] = h5py.VirtualSource("secret.h5", "d/x", shape=(8,))
    file["uns"].create_virtual_dataset("leak", layout)


def soft_link_through_another_file(file: h5py.File) -> None:
    file["uns/door"] = h5py.ExternalLink("secret.h5", "/d")
    file["uns/leak"] = h5py.SoftLink("/uns/door/x")


@pytest.mark.parametrize(
    ("hostile", "message"),
    [
        (external_link, "1. uns/leak: an external link to '/d/x' in the file 'secret.h5'"),
        (
            external_storage,
            "1. uns/leak: external storage, whose bytes are in the file 'secret.h5",
        ),
        (
            virtual_dataset,
            "1. uns/leak: a virtual dataset, whose bytes are elsewhere: in the file",
        ),
        (soft_link_through_another_file, "2. uns/leak: a soft link to '/uns/door/x', which is no"),
    ],
)
@pytest.mark.usefixtures("secret")
def test_what_shows_another_file_is_refused(
    hostile: Change, message: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(path, hostile)
    monkeypatch.chdir(path.parent)  # HDF5 looks for external storage in the working folder
    assert anndata.io.read_h5ad(path).uns["leak"].tobytes() == b"password", "it is dangerous"
    assert message in refusal(path)
    with pytest.raises(ScreenError, match="uns/leak"):
        look(path)


def test_links_that_lead_nowhere_are_refused_for_what_they_are(path: Path) -> None:
    def dangle(file: h5py.File) -> None:
        file["uns/soft"] = h5py.SoftLink("/nowhere")

    change(path, external_link, dangle)
    assert not path.with_name("secret.h5").exists()
    text = refusal(path)
    assert "uns/leak: an external link" in text
    assert "uns/soft: a soft link to '/nowhere'" in text


def test_a_link_of_unknown_type(path: Path) -> None:
    change(path, external_link)
    content = bytearray(path.read_bytes())
    at = content.index(b"\x40\x04leak")  # link type 64, length of the name, name
    content[at] = 65
    path.write_bytes(content)
    with h5py.File(path) as file, pytest.raises(TypeError, match="Unknown link type"):
        file["uns"].get("leak", getlink=True)
    assert "1. uns/leak: a link of the unknown type 65" in refusal(path)


# Files without an end


def hard_cycle(file: h5py.File) -> None:
    file["uns/nested/deeper/again"] = file["uns"]


def soft_cycle(file: h5py.File) -> None:
    file["uns/nested/deeper/again"] = h5py.SoftLink("/uns")


@pytest.mark.parametrize("cycle", [hard_cycle, soft_cycle])
def test_a_cycle_is_refused(cycle: Change, path: Path) -> None:
    change(path, cycle)
    with h5py.File(path) as file:
        assert file["uns" + "/nested/deeper/again" * 5 + "/nested/deeper/n"][()] == 1
    text = refusal(path)
    assert "1. uns/nested/deeper/again: a link back to a group that holds it" in text
    assert "2. " not in text


def test_a_cycle_of_two_soft_links(path: Path) -> None:
    def two(file: h5py.File) -> None:
        file["uns/a/to_b"] = h5py.SoftLink("/uns/b")
        file["uns/b/to_a"] = h5py.SoftLink("/uns/a")

    change(path, two)
    assert "uns/a/to_b/to_a: a link back" in refusal(path)


def test_what_doubles_with_each_level_ends(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def doubling(file: h5py.File) -> None:
        inner = file.create_group("uns/last")
        for level in range(40):  # 2**40 paths
            outer = file.create_group(f"uns/level{level}")
            outer["left"], outer["right"] = inner, inner
            inner = outer

    change(path, doubling)
    monkeypatch.setattr(rules, "MOST_ITEMS", 5000)
    text = refusal(path)
    assert "here the walk had met 5000 links and attributes, and was given up" in text
    assert "2. " not in text


def test_depth_has_a_limit(path: Path) -> None:
    change(path, lambda file: file.create_group("uns/" + "/".join("g" * 300)))
    assert "it lies in more than 50 groups" in refusal(path)


def test_no_more_than_ten_faults_are_listed(path: Path) -> None:
    def many(file: h5py.File) -> None:
        for i in range(12):
            file[f"uns/l{i}"] = h5py.ExternalLink("secret.h5", "/x")

    change(path, many)
    text = refusal(path)
    assert "\n10. uns/l" in text
    assert "\n11. " not in text
    assert "\n... and more\n" in text


def test_names_in_the_file_cannot_write_to_the_terminal(path: Path) -> None:
    def escape(file: h5py.File) -> None:
        file["uns/\x1b[2J\nall is well"] = h5py.ExternalLink("secret.h5", "/x" * 10_000)

    change(path, escape)
    text = refusal(path)
    assert "uns/?[2J?all is well: an external link" in text
    assert len(text) < 1000


# Types


def opaque() -> h5t.TypeID:
    kind = h5t.create(h5t.OPAQUE, 8)
    kind.set_tag(b"NUMPY:|O")
    return kind


def inside_record(kind: h5t.TypeID) -> h5t.TypeID:
    record = h5t.create(h5t.COMPOUND, 8 + kind.get_size())
    record.insert(b"number", 0, h5t.NATIVE_DOUBLE)
    record.insert(b"other", 8, kind)
    return record


@pytest.mark.parametrize("wrapped", [lambda kind: kind, inside_record])
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (opaque(), "opaque bytes, which h5py may turn into Python objects"),
        (h5t.vlen_create(h5t.NATIVE_DOUBLE), "vectors of variable length, which become Python"),
        (h5t.STD_REF_OBJ, "references to other objects"),
        (h5t.STD_REF_DSETREG, "references to other objects"),
        (h5t.array_create(opaque(), (2,)), "opaque bytes"),
    ],
)
def test_types_of_python_objects_are_refused(
    kind: h5t.TypeID,
    message: str,
    wrapped: Callable[[h5t.TypeID], h5t.TypeID],
    path: Path,
) -> None:
    change(path, lambda file: dataset(file, "uns/objects", wrapped(kind)))
    with h5py.File(path) as file:
        assert file["uns/objects"].dtype.hasobject
    assert f"1. uns/objects: {message}" in refusal(path)


def test_an_opaque_attribute_is_refused_before_it_is_read(path: Path) -> None:
    def attach(file: h5py.File) -> None:
        group = file["uns"]
        h5py.h5a.create(group.id, b"shape", opaque(), h5s.create_simple((1,)))
        h5py.h5a.create(file.id, b"_index", opaque(), h5s.create_simple((1,)))

    change(path, attach)
    text = refusal(path)
    assert "/@'_index': opaque bytes" in text
    assert "uns@'shape': opaque bytes" in text


def test_region_references_are_refused(path: Path) -> None:
    def attach(file: h5py.File) -> None:
        file["obs/depth"].attrs["categories"] = file["obs/depth"].regionref[:3]

    change(path, attach)
    assert "1. obs/depth@'categories': references to other objects" in refusal(path)


def test_references_must_not_lead_past_the_links(path: Path) -> None:
    def hide(file: h5py.File) -> None:
        file["uns/a"] = SECRET
        file["uns/b"] = file["uns/a"]
        file["obs/depth"].attrs["categories"] = file["uns/a"].ref

    change(path, hide)
    refuse_hostile(path)  # both are linked
    with h5py.File(path) as file:
        address = h5py.h5o.get_info(file["uns/a"].id).addr
    content = bytearray(path.read_bytes())
    assert content[address + 4] == 2, "count of links"
    content[address + 4] = 3
    path.write_bytes(content)
    change(path, lambda file: [file.__delitem__(f"uns/{name}") for name in "ab"])
    with h5py.File(path) as file:
        reference = file["obs/depth"].attrs["categories"]
        np.testing.assert_array_equal(file[reference][:], SECRET)
        assert h5r.get_name(reference, file.id) is None
    assert "obs/depth@'categories': refers to an object that no link leads to" in refusal(path)


def test_a_filter_that_is_not_installed(path: Path) -> None:
    def foreign(file: h5py.File) -> None:
        layout = h5p.create(h5p.DATASET_CREATE)
        layout.set_chunk((8,))
        layout.set_filter(32999, h5py.h5z.FLAG_OPTIONAL, (3,))
        dataset(file, "uns/packed", h5t.NATIVE_INT8, layout)

    change(path, foreign)
    assert "1. uns/packed: compressed with the HDF5 filter 32999" in refusal(path)


# Shapes


@pytest.mark.parametrize("chunks", [None, (1000, 1000), True])
def test_a_shape_without_the_bytes_is_refused(chunks: Any, path: Path) -> None:
    def bomb(file: h5py.File) -> None:
        file.create_dataset("uns/bomb", (10**6, 10**6), dtype="f8", chunks=chunks)

    change(path, bomb)
    assert path.stat().st_size < 200_000
    text = refusal(path)
    assert "1. uns/bomb: its shape (1000000, 1000000) means 7.28 TiB" in text
    assert "KiB are stored" in text


def test_many_small_bombs_are_one(path: Path) -> None:
    def bombs(file: h5py.File) -> None:
        for i in range(20):
            file.create_dataset(f"uns/b{i}", (2**27,), dtype="u1", chunks=(2**20,))

    change(path, bombs)
    assert "all arrays together 2.5" in refusal(path)


def test_a_bomb_of_one_chunk(path: Path) -> None:
    def bomb(file: h5py.File) -> None:
        shape = {"maxshape": (None,), "chunks": (2**31,), "compression": "gzip"}
        file.create_dataset("uns/bomb", (3,), dtype="u1", **shape)

    change(path, bomb)
    assert "uns/bomb: its shape (3,) means 2 GiB" in refusal(path)


def test_a_text_type_of_absurd_length(path: Path) -> None:
    change(
        path, lambda file: file.create_dataset("uns/t", (10**4,), dtype="S1000000", chunks=(1,))
    )
    assert "uns/t: its shape (10000,) means 9.31 GiB" in refusal(path)


@pytest.mark.parametrize("length", [300, 10**12])
def test_sparse_shapes_must_agree(length: int, path: Path) -> None:
    change(path, lambda file: file["X"].attrs.modify("shape", np.array([length, 30])))
    text = refusal(path)
    assert f"1. X: a sparse matrix of shape ({length}, 30), with indptr of shape (121,)" in text
    assert f"2. X: its shape is ({length}, 30), but obs has 120 rows and var has 30" in text


def test_sparse_parts_must_agree(path: Path) -> None:
    def shorten(file: h5py.File) -> None:
        kept = file["X/indices"][:-1]
        del file["X/indices"]
        file["X/indices"] = kept

    change(path, shorten)
    assert "1. X: a sparse matrix with indices of shape" in refusal(path)


@pytest.mark.parametrize("stated", ["many", 5, [1, 2, 3], ["1", "x"]])
def test_sparse_shapes_are_two_numbers(stated: Any, path: Path) -> None:
    def state(file: h5py.File) -> None:
        del file["X"].attrs["shape"]
        file["X"].attrs["shape"] = stated

    change(path, state)
    assert "1. X: a sparse matrix without a shape of two numbers" in refusal(path)


@pytest.mark.parametrize("where", ["X", "layers/counts", "raw/X"])
def test_matrices_must_agree_with_obs_and_var(
    where: str, adata: anndata.AnnData, tmp_path: Path
) -> None:
    adata.layers["counts"] = adata.X.toarray()
    adata.raw = adata
    path = tmp_path / "screen.h5ad"
    adata.write_h5ad(path)
    refuse_hostile(path)

    def narrow(file: h5py.File) -> None:
        del file[where]
        file[where] = np.zeros((120, 29))

    change(path, narrow)
    assert f"1. {where}: its shape is (120, 29), but obs has 120 rows and " in refusal(path)


# What is honest


def every_encoding(adata: anndata.AnnData) -> anndata.AnnData:
    adata.layers["columns"] = sparse.csc_matrix(adata.X)
    adata.layers["dense"] = np.zeros(adata.shape)
    adata.raw = adata
    adata.obsm["table"] = pd.DataFrame({"a": np.arange(120.0)}, index=adata.obs_names)
    adata.obsp["near"] = sparse.identity(120, format="csr")
    adata.obs["whole"] = pd.array([1, None, 3] * 40, dtype="Int64")
    adata.obs["yes"] = pd.array([True, None, False] * 40, dtype="boolean")
    adata.obs["flag"] = np.arange(120) > 3
    adata.obs["guide"] = pd.Categorical(["a", "b", None] * 40, ordered=True)
    adata.var["symbol"] = [f"s{i}" for i in range(30)]
    ranked = np.array([("G1", 1.5), ("G2", 0.5)], dtype=[("a", "U8"), ("b", "f4")])
    words = np.array(["α", "a longer one"], dtype=object)
    adata.uns |= {
        "rank_genes_groups": {"names": ranked, "params": {"method": "t", "n": 3}},
        "words": words,
        "empty": {},
        "text": "yes",
        "number": 1.5,
        "nothing": None,
        "complex": np.array([1j]),
        "none_at_all": np.zeros((0, 5)),
    }
    return adata


@pytest.mark.parametrize("options", [{}, {"compression": "gzip"}, {"compression": "lzf"}])
def test_what_anndata_writes_passes(
    options: dict[str, Any], adata: anndata.AnnData, tmp_path: Path
) -> None:
    path = tmp_path / "screen.h5ad"
    with anndata.settings.override(allow_write_nullable_strings=True):
        every_encoding(adata).write_h5ad(path, **options)
    refuse_hostile(path)
    assert anndata.io.read_h5ad(path).n_obs == 120
    with h5py.File(path) as file:
        refuse_hostile_h5ad(file)
        assert file, "it stays open"
    backed = anndata.io.read_h5ad(path, backed="r")
    refuse_hostile(path)
    backed.file.close()


@pytest.mark.parametrize("file", sorted(RAW.glob("*.h5ad")), ids=lambda file: file.stem)
def test_the_bundled_screens_pass(file: Path) -> None:
    started = time.perf_counter()
    refuse_hostile(file)
    assert time.perf_counter() - started < 1


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (5, 0), (1, 1)])
def test_small_ones_pass(shape: tuple[int, int], tmp_path: Path) -> None:
    for X in (np.zeros(shape), sparse.csr_matrix(shape), None):
        adata = anndata.AnnData(X, shape=None if X is not None else shape)
        adata.write_h5ad(tmp_path / "x.h5ad")
        refuse_hostile(tmp_path / "x.h5ad")


def legacy(path: Path) -> None:
    """anndata 0.7, as in the published files of Replogle 2022: categories by object reference."""
    with h5py.File(path, "w") as file:
        file["X"] = np.ones((4, 2), dtype=np.float32)
        text = h5py.string_dtype()
        for name, index in (("obs", ["c0", "c1", "c2", "c3"]), ("var", ["g0", "g1"])):
            table = file.create_group(name)
            table.create_dataset("cell_barcode", data=index, dtype=text)
            table.attrs.update(
                {
                    "encoding-type": "dataframe",
                    "encoding-version": "0.1.0",
                    "_index": "cell_barcode",
                }
            )
            table.attrs.create("column-order", ["gene"], dtype=text)
            codes = table.create_dataset("gene", data=np.arange(len(index), dtype=np.int8) % 2)
            known = table.create_dataset("__categories/gene", data=["KRAS", "TP53"], dtype=text)
            known.attrs["ordered"] = False
            codes.attrs["categories"] = known.ref
        for name in ("layers", "obsm", "uns", "varm"):
            file.create_group(name)


def test_the_legacy_layout_passes(tmp_path: Path) -> None:
    path = tmp_path / "legacy.h5ad"
    legacy(path)
    refuse_hostile(path)
    assert list(look(path).obs["gene"]) == ["KRAS", "TP53", "KRAS", "TP53"]
    assert anndata.io.read_h5ad(path).shape == (4, 2)


def test_record_arrays_of_the_first_layout_pass(tmp_path: Path) -> None:
    path = tmp_path / "old.h5ad"
    obs = np.array([(b"c0", 0), (b"c1", 1)], dtype=[("index", "S2"), ("gene", "i1")])
    var = np.array([("g0",)], dtype=[("index", h5py.string_dtype())])
    with h5py.File(path, "w") as file:
        file["X"] = np.ones(2)
        file["obs"], file["var"] = obs, var
        file["uns/gene_categories"] = np.array([b"KRAS", b"TP53"])
    refuse_hostile(path)
    change(path, lambda file: file.__delitem__("X"), lambda file: file.update(X=np.ones((3, 1))))
    assert "1. X: its shape is (3, 1), but obs has 2 rows and var has 1" in refusal(path)


def test_plain_links_within_the_file_pass(path: Path) -> None:
    def link(file: h5py.File) -> None:
        file["layers/hard"] = file["X"]
        file["layers/soft"] = h5py.SoftLink("/X")
        file["obs/again"] = h5py.SoftLink("./depth")

    change(path, link)
    refuse_hostile(path)
    loaded = anndata.io.read_h5ad(path)
    assert (loaded.layers["soft"] != loaded.X).nnz == 0
    change(path, lambda file: file.update(a_named_type=np.dtype("f8")))
    refuse_hostile(path)


def test_what_packs_well_passes(path: Path) -> None:
    def zeros(file: h5py.File) -> None:
        options = {"chunks": (2**20,), "compression": "gzip"}
        file.create_dataset("uns/zeros", data=np.zeros(2**26, dtype=np.uint8), **options)

    change(path, zeros)
    refuse_hostile(path)


def test_large_and_plain_passes(tmp_path: Path) -> None:
    # 65 GB as published, in a file with a hole: its length is what counts
    path, shape = tmp_path / "large.h5ad", (2_000_000, 8_000)
    legacy(path)
    with h5py.File(path, "r+") as file:
        for name, length in (("obs", shape[0]), ("var", shape[1])):
            del file[name]["cell_barcode"]
            file[name].create_dataset("cell_barcode", (length,), dtype="S4", chunks=(1000,))
        del file["X"]
        layout = h5p.create(h5p.DATASET_CREATE)
        layout.set_alloc_time(h5d.ALLOC_TIME_EARLY)
        layout.set_fill_time(h5d.FILL_TIME_NEVER)
        h5d.create(file.id, b"X", h5t.IEEE_F32LE, h5s.create_simple(shape), layout)
    assert path.stat().st_size > 64e9
    started = time.perf_counter()
    refuse_hostile(path)
    assert time.perf_counter() - started < 1
    path.unlink()  # whoever copies the folder would fill the hole


# Only metadata


class Recorder(io.BytesIO):
    """Remembers which bytes were read."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.read_at = np.zeros(len(content), dtype=bool)

    def readinto(self, buffer: Any) -> int:
        start = self.tell()
        n = super().readinto(buffer)
        self.read_at[start : start + n] = True
        return n


def test_no_data_are_read(adata: anndata.AnnData, tmp_path: Path) -> None:
    path = tmp_path / "x.h5ad"
    adata.obs["mark"] = np.frombuffer(bytes(range(8, 128)) * 8, dtype="i8").copy()
    adata.layers["dense"] = np.random.default_rng(0).normal(size=adata.shape)
    adata.layers["packed"] = adata.layers["dense"]
    adata.write_h5ad(path)
    with h5py.File(path, "r+") as file:
        data = file["layers/dense"][:]
        for name, options in (("one", {}), ("many", {"chunks": (7, 7), "compression": "gzip"})):
            file.create_dataset(f"layers/{name}", data=data, **options)
    content = path.read_bytes()
    recorder = Recorder(content)
    with h5py.File(recorder, "r") as file:
        refuse_hostile_h5ad(file)
    start = content.index(data.tobytes())
    # HDF5 may fetch some 2 KiB on either side of a header
    inner = recorder.read_at[start + 4096 : start + data.nbytes - 4096]
    assert len(inner) > 20_000
    assert not inner.any()


def test_broken_data_are_judged_by_their_metadata(path: Path) -> None:
    def scramble(file: h5py.File) -> None:
        data = file.create_dataset("uns/z", data=np.arange(9000), compression="gzip")
        data.id.write_direct_chunk((0,), b"this is not gzip")

    change(path, scramble)
    refuse_hostile(path)
    with h5py.File(path) as file, pytest.raises(OSError, match="filter returned failure"):
        file["uns/z"][:]


def test_a_damaged_header_is_a_fault(path: Path) -> None:
    change(path, lambda file: file.create_dataset("uns/z", data=np.arange(9)))
    with h5py.File(path) as file:
        address = h5py.h5o.get_info(file["uns/z"].id).addr
    content = bytearray(path.read_bytes())
    content[address] = 99
    path.write_bytes(content)
    assert "uns/z: cannot be opened" in refusal(path)


def test_what_is_no_hdf5_is_not_for_the_guard(tmp_path: Path) -> None:
    (tmp_path / "x.h5ad").write_text("<html>")
    with pytest.raises(OSError, match="file signature not found"):
        refuse_hostile(tmp_path / "x.h5ad")
    with pytest.raises(ScreenError, match="cannot be read as AnnData"):
        look(tmp_path / "x.h5ad")
