"""Helpers of the dataset tests: a child that is killed in the middle of a save."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


def kill_when_ready(script: str, *arguments: str) -> None:
    """Run `script` in a child until it prints "ready", then kill it without warning."""
    child = subprocess.Popen(
        [sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    with child.stdout:
        ready = child.stdout.readline()
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert ready == "ready\n"
    assert child.returncode == -signal.SIGKILL


@pytest.fixture(autouse=True)
def flushed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The inodes flushed to the disk; here they only seem to be, which saves seconds."""
    inodes: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda fd: inodes.append(os.fstat(fd).st_ino))
    return inodes


@pytest.fixture
def killed() -> Callable[..., None]:
    return kill_when_ready


@pytest.fixture
def handles() -> Callable[[Path], list[str]]:
    """The files under a folder that this process holds open."""
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("needs /proc")

    def held(folder: Path) -> list[str]:
        links = []
        for fd in Path("/proc/self/fd").iterdir():
            try:
                links.append(str(fd.readlink()))
            except OSError:  # the listing's own
                continue
        return [link for link in links if link.startswith(os.fspath(folder.resolve()))]

    return held
