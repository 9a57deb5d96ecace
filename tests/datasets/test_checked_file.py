"""Laws of `check`: a file is read once, and refused when it is not the published one."""

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from sparseshift.datasets import checked_file
from sparseshift.datasets.checked_file import check, hash_of, remember
from sparseshift.errors import DownloadError

URL = "https://example.org/counts.csv"


def hash_in(algorithm: str, content: bytes) -> str:
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "counts.csv"
    path.write_bytes(b"1,2,3")
    return path


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The algorithm of each time that a file was read whole."""
    algorithms: list[str] = []
    digest = hashlib.file_digest

    def counted(file: Any, algorithm: str) -> object:
        algorithms.append(algorithm)
        return digest(file, algorithm)

    monkeypatch.setattr(hashlib, "file_digest", counted)
    return algorithms


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_is_read_once_until_it_changes(path: Path, algorithm: str, reads: list[str]) -> None:
    known_hash = hash_in(algorithm, b"1,2,3")
    for _ in range(3):
        check(path, URL, known_hash=known_hash, size=5)
    assert reads == [algorithm]
    os.utime(path, (0, 0))
    check(path, URL, known_hash=known_hash)
    assert len(reads) == 2
    path.write_bytes(b"3,2,1")
    os.utime(path, (1, 1))
    for _ in range(2):
        with pytest.raises(DownloadError, match=r"has \w+:\w+, and the published file"):
            check(path, URL, known_hash=known_hash)
    assert len(reads) == 3, "a wrong hash is remembered too"
    assert path.read_bytes() == b"3,2,1"


def test_wrong_size_is_refused_unread(path: Path, reads: list[str]) -> None:
    with pytest.raises(DownloadError, match=rf"^{path} has 5 bytes, and .*{URL}.* has 6 bytes"):
        check(path, URL, known_hash=hash_in("md5", b"1,2,3"), size=6)
    assert not reads


def test_each_algorithm_is_taken_for_itself(path: Path, reads: list[str]) -> None:
    for algorithm in ("md5", "sha256"):
        assert hash_of(path, algorithm) == hash_in(algorithm, b"1,2,3")
    assert reads == ["md5", "sha256"]


def test_a_hash_taken_elsewhere_is_believed(path: Path, reads: list[str]) -> None:
    remember(path, "md5:0")
    assert hash_of(path, "md5") == "md5:0"
    assert not reads


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "{}", '{"hash": 3}', '{"hash": "md5:0"}'])
def test_damaged_memory_is_taken_anew(path: Path, text: str) -> None:
    path.with_name(".counts.csv.checked.json").write_text(text)
    assert hash_of(path, "md5") == hash_in("md5", b"1,2,3")


def test_first_hash_is_recorded_and_holds(path: Path, reads: list[str]) -> None:
    for _ in range(2):
        check(path, URL)
    record = path.with_name("counts.csv.sha256")
    digits = hash_in("sha256", b"1,2,3")[7:]
    assert record.read_text() == f"{digits}  counts.csv\n"
    assert reads == ["sha256"]
    path.write_bytes(b"3,2,1,0")
    with pytest.raises(
        DownloadError,
        match=rf"{path} has changed: .* {record} says sha256:{digits}\. It is left .*{URL} anew, "
        "or delete the record to accept it",
    ):
        check(path, URL)
    record.unlink()
    check(path, URL)


def test_record_may_come_from_a_person(path: Path) -> None:
    record = path.with_name("counts.csv.sha256")
    record.write_text(hash_in("sha256", b"1,2,3")[7:].upper() + "\n")
    check(path, URL)
    record.write_text("sha of it\n")
    with pytest.raises(DownloadError, match=rf"{record} should begin .* begins with 'sha of it'"):
        check(path, URL)
    check(path, URL, known_hash=hash_in("md5", b"1,2,3"))


def test_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(
        DownloadError, match=rf"{tmp_path} is no file\. Move it away to have {URL}"
    ):
        check(tmp_path, URL)


def test_read_only_folder_is_enough(
    path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: object) -> None:
        raise PermissionError(13, "read-only")

    monkeypatch.setattr(checked_file, "replaced", read_only)
    for _ in range(2):
        check(path, URL)
    assert reads == ["sha256"] * 2
    assert [p.name for p in path.parent.iterdir()] == ["counts.csv"]
