"""Laws of `replaced`: the old one or the whole new one, and nothing else left behind."""

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sparseshift.datasets.atomic import replaced, sweep, sweep_versions


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_file(path: Path, text: str) -> None:
    path.write_text(text)


def write_folder(path: Path, text: str) -> None:
    (path / "inner").mkdir(parents=True)
    (path / "inner" / text).write_text(text)


def read(path: Path) -> str:
    if path.is_file():
        return path.read_text()
    (only,) = (path / "inner").iterdir()
    assert only.name == only.read_text()
    return only.read_text()


@pytest.fixture(params=["swap", "two renames"])
def exchange(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways in which two folders can change places."""
    if request.param == "two renames":
        monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    return str(request.param)


@pytest.fixture
def dead_pid() -> int:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


Write = Callable[[Path, str], None]

both = pytest.mark.parametrize("write", [write_file, write_folder])


@both
@pytest.mark.usefixtures("exchange")
def test_replaces_whole_and_leaves_nothing_else(write: Write, tmp_path: Path) -> None:
    target = tmp_path / "new" / "name.x"
    for text in ("one", "two"):
        with replaced(target) as temporary:
            assert temporary.parent == target.parent
            write(temporary, text)
        assert read(target) == text
        assert names(target.parent) == ["name.x"]


@both
def test_flushes_every_file_before_it_is_renamed(
    write: Write, tmp_path: Path, flushed: list[int]
) -> None:
    with replaced(tmp_path / "name") as temporary:
        write(temporary, "new")
        inodes = [f.stat().st_ino for f in [temporary, *temporary.rglob("*")] if f.is_file()]
        assert not flushed
    assert flushed == inodes


@both
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_any_exception_leaves_the_old(
    write: Write, error: type[BaseException], tmp_path: Path
) -> None:
    target = tmp_path / "name"
    write(target, "old")

    def fail(temporary: Path) -> None:
        write(temporary, "new")
        raise error

    with pytest.raises(error), replaced(target) as temporary:
        fail(temporary)
    assert read(target) == "old"
    assert names(tmp_path) == ["name"]


def test_failed_second_rename_puts_the_old_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    target = tmp_path / "name"
    write_folder(target, "old")
    rename = Path.rename

    def failing(self: Path, to: Path) -> Path:
        if self.suffix == ".tmp" and to == target:
            raise KeyboardInterrupt
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(KeyboardInterrupt), replaced(target) as temporary:
        write_folder(temporary, "new")
    assert read(target) == "old"
    assert names(tmp_path) == ["name"]


def test_symbolic_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    link = tmp_path / "name"
    link.symlink_to(tmp_path / "disk" / "real")
    with replaced(link) as temporary:
        write_file(temporary, "new")
    assert link.is_symlink()
    assert (tmp_path / "disk" / "real").read_text() == "new"


@both
def test_sweeps_only_what_dead_processes_left_of_this_target(
    write: Write, tmp_path: Path, dead_pid: int
) -> None:
    stays = {
        f".name.{dead_pid}-0a.tmp": False,
        f".name.{os.getpid()}-0a.tmp": False,  # this id, but not of this process's saves
        f".name.{os.getppid()}-0a.tmp": True,
        f".other.{dead_pid}-0a.tmp": True,
        f".name.x.{dead_pid}-0a.tmp": True,
        ".name.tmp": True,
        "name.5-0a.tmp": True,
    }
    for name in stays:
        write(tmp_path / name, "left")
    with replaced(tmp_path / "name") as temporary:
        write(temporary, "new")
        assert not sweep(tmp_path / "name"), "a save under way is not swept by another"
    assert {*names(tmp_path)} == {"name", *(name for name in stays if stays[name])}


def test_folder_that_a_kill_caught_between_two_renames_is_put_back(
    tmp_path: Path, dead_pid: int
) -> None:
    write_folder(tmp_path / f".name.{dead_pid}-0a.old", "old")
    write_folder(tmp_path / f".name.{dead_pid}-0a.tmp", "new")
    assert sweep(tmp_path / "name")
    assert names(tmp_path) == ["name"]
    assert read(tmp_path / "name") == "old"


def test_sweep_of_versions_keeps_whole_and_starting_ones(tmp_path: Path, dead_pid: int) -> None:
    path = tmp_path / "name"
    for version in ("killed", "whole", "starting"):
        (path / version).mkdir(parents=True)
    write_file(path / "killed" / f".name.{dead_pid}-0a.tmp", "half")
    write_file(path / "whole" / "name", "all")
    sweep_versions(path)
    assert names(path) == ["starting", "whole"]
