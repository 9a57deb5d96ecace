"""Laws of PublishedFileDataset: one's own file, else the one kept, else a download."""

import hashlib
import logging
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from kedro.io import DataCatalog, DatasetError

from sparseshift.datasets import PublishedFileDataset

CONTENT = b"gene,count\nKLF1,3\n"
MD5 = "md5:" + hashlib.md5(CONTENT).hexdigest()
VARIABLE = "SPARSESHIFT_TEST_FILE"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server that has counts.csv and nothing else."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv(VARIABLE, raising=False)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "counts.csv").write_bytes(CONTENT)
    handler = partial(Quiet, directory=str(tmp_path / "site"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.005])
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "01_raw" / "counts.csv"


@pytest.fixture
def entry(site: str, path: Path) -> dict[str, Any]:
    return {
        "filepath": str(path),
        "url": f"{site}/counts.csv",
        "known_hash": MD5,
        "size": len(CONTENT),
        "citation": "Author et al. (2024)",
        "variable": VARIABLE,
    }


def test_is_downloaded_once(
    entry: dict[str, Any], path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "sparseshift")
    dataset = PublishedFileDataset(**entry)
    assert not dataset.exists()
    assert dataset.load() == path
    assert "counts.csv is published by: Author et al. (2024)" in caplog.text
    assert path.read_bytes() == CONTENT
    assert dataset.exists()
    gone = PublishedFileDataset(**{**entry, "url": f"{entry['url']}.gone"})
    caplog.clear()
    assert gone.load() == path
    assert not caplog.text


def test_own_file_wins_as_it_is(
    entry: dict[str, Any],
    path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "sparseshift")
    dataset = PublishedFileDataset(**entry)
    dataset.load()
    own = tmp_path / "own.csv"
    own.write_text("a cut of it")
    monkeypatch.setenv(VARIABLE, str(own))
    assert dataset.load() == own
    assert dataset.exists()
    assert f"{own} from {VARIABLE} is used instead of {entry['url']}." in caplog.text
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(VARIABLE, "~/own.csv")
    assert dataset.load() == own
    monkeypatch.setenv(VARIABLE, "")
    assert dataset.load() == path
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "own.csv", "site"]


def test_own_file_that_is_not_there(
    entry: dict[str, Any], path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = PublishedFileDataset(**entry)
    dataset.load()
    for missing in (tmp_path / "missing.csv", tmp_path):
        monkeypatch.setenv(VARIABLE, str(missing))
        assert not dataset.exists()
        with pytest.raises(
            DatasetError,
            match=rf"^{VARIABLE} is '{missing}', and there is no file\. Correct it, or unset it to "
            rf"use {path}, which is downloaded from {entry['url']} if missing\.$",
        ):
            dataset.load()


@pytest.mark.parametrize("found", [b"cut", CONTENT[::-1]])
def test_kept_file_must_be_the_published_one(
    entry: dict[str, Any], path: Path, found: bytes
) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(found)
    dataset = PublishedFileDataset(**entry)
    assert dataset.exists()
    with pytest.raises(DatasetError) as caught:
        dataset.load()
    same_size = len(found) == len(CONTENT)
    has = "md5:" + hashlib.md5(found).hexdigest() if same_size else f"{len(found)} bytes"
    wanted = MD5 if same_size else f"{len(CONTENT)} bytes"
    assert str(caught.value) == (
        f"{path} has {has}, and the published file ({entry['url']}) has {wanted}. It is left as it "
        "is: delete it to download the published one. Or set "
        f"{VARIABLE}=/path/to/file to use a file that you have."
    )
    assert path.read_bytes() == found


def test_failed_download_says_what_to_do(entry: dict[str, Any], path: Path) -> None:
    url = entry["url"] = f"{entry['url']}.gone"
    by_hand = f"or download it by hand from {url} and put it at {path}."
    with pytest.raises(DatasetError) as caught:
        PublishedFileDataset(**entry).load()
    assert str(caught.value).startswith(f"{url} answered 404 File not found with text/html. Try")
    assert str(caught.value).endswith(
        f"{by_hand} Or set {VARIABLE}=/path/to/file to use a file that you have."
    )
    del entry["variable"]
    with pytest.raises(DatasetError) as caught:
        PublishedFileDataset(**entry).load()
    assert str(caught.value).endswith(by_hand)


def test_without_hash_and_size_the_first_file_holds(entry: dict[str, Any], path: Path) -> None:
    dataset = PublishedFileDataset(**{**entry, "known_hash": None, "size": None})
    assert dataset.load() == path
    path.write_text("something else")
    with pytest.raises(DatasetError, match=r"has changed: .*counts\.csv\.sha256 says sha256:"):
        dataset.load()


def test_is_read_only(entry: dict[str, Any], path: Path) -> None:
    with pytest.raises(
        DatasetError,
        match=rf"A str cannot be saved to {path}: it is a copy of {entry['url']} and read-only",
    ):
        PublishedFileDataset(**entry).save("mine")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"filepath": "s3://x/y"}, "kept in a local folder, and s3://x/y is on 's3'"),
        ({"known_hash": "abc"}, r"counts\.csv: known_hash='abc' must be 'md5:' and 32"),
        ({"size": 1.5}, r"counts\.csv: size=1\.5 must be a whole number"),
    ],
)
def test_impossible_entries(entry: dict[str, Any], wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        PublishedFileDataset(**{**entry, **wrong})


def test_catalog_entry_and_pickle(entry: dict[str, Any], path: Path) -> None:
    entry = {"type": "sparseshift.datasets.PublishedFileDataset", **entry, "metadata": {"a": 1}}
    catalog = DataCatalog.from_config({"counts": entry})
    assert str(path) in repr(catalog["counts"])
    assert pickle.loads(pickle.dumps(catalog["counts"])).load() == path
    assert catalog.load("counts") == path


def test_import_is_light() -> None:
    script = """
import sys
import sparseshift.datasets
sparseshift.datasets.PublishedFileDataset(filepath="x", url="http://x", citation="x")
heavy = {"pooch", "requests", "tqdm"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", script], check=True)
