"""What is left on disk of a fit that has finished."""

import logging
import math
import os
import threading
import time
from pathlib import Path

import pytest
import torch

from sparseshift.training.checkpoint import Checkpoint
from sparseshift.training.finished import read_finished, write_finished
from sparseshift.training.history import History, Record
from sparseshift.training.prune import prune

WEIGHTS = {"a": torch.linspace(0.0, 1.0, 5), "n": torch.tensor(3)}
RECORDS = tuple(
    Record(0, i, i, 1.0, 0.1 / 3, -1.0 / i, math.inf, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 7)
    for i in (1, 2)
)
KEYS = ("0123456789abcdef" * 2, "f" * 32)


def test_weights_and_records_come_back_and_nothing_else_stays(tmp_path: Path) -> None:
    assert read_finished(tmp_path) is None
    Checkpoint(tmp_path / "phase_0.safetensors").write(WEIGHTS, {})
    (tmp_path / "phase_1.123-456.part").write_bytes(b"left by a process that was killed")
    write_finished(tmp_path, WEIGHTS, History(RECORDS, 1, 2.5))
    assert [path.name for path in tmp_path.iterdir()] == ["finished.safetensors"]
    kept = read_finished(tmp_path)
    assert kept is not None
    assert kept.history == History(RECORDS, 1, 2.5)
    assert kept.weights.keys() == WEIGHTS.keys()
    assert all(torch.equal(kept.weights[name], WEIGHTS[name]) for name in WEIGHTS)


def test_writers_of_one_file_never_mix(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    states = [{"x": torch.full((50_000,), float(i))} for i in range(3)]
    stop = threading.Event()
    seen: set[int] = set()

    def write(number: int) -> None:
        while not stop.is_set():
            Checkpoint(path).write(states[number], {"number": number})

    writers = [threading.Thread(target=write, args=(i,)) for i in range(3)]
    for writer in writers:
        writer.start()
    end = time.monotonic() + 0.5
    try:
        while time.monotonic() < end or not seen:
            if (saved := Checkpoint(path).read()) is not None:
                tensors, header = saved
                assert torch.equal(tensors["x"], states[header["number"]]["x"])
                seen.add(header["number"])
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    assert [p.name for p in tmp_path.iterdir()] == ["state.safetensors"]


def test_a_writer_whose_part_was_cleared_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = Checkpoint(tmp_path / "phase_0.safetensors")
    replace = Path.replace

    def cleared(self: Path, target: Path) -> Path:
        write_finished(tmp_path, WEIGHTS, History(RECORDS, 1))
        return replace(self, target)

    with monkeypatch.context() as patched:
        # the other process finishes between the two steps of a write
        patched.setattr(
            Path,
            "replace",
            lambda self, to: replace(self, to) if "fin" in self.name else cleared(self, to),
        )
        checkpoint.write(WEIGHTS, {})
    assert [path.name for path in tmp_path.iterdir()] == ["finished.safetensors"]


def aged(folder: Path, key: str, days: float) -> Path:
    """The state of a fit that was last used so many days ago."""
    write_finished(folder / key, WEIGHTS, History(RECORDS, 1))
    then = time.time() - 86_400 * days
    for path in (folder / key / "finished.safetensors", folder / key):
        os.utime(path, (then, then))
    return folder / key


def test_states_long_not_used_are_removed_and_it_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert prune(tmp_path / "none", 30.0) == 0
    old, young = (aged(tmp_path, key, days) for key, days in zip(KEYS, (31, 29), strict=True))
    with caplog.at_level(logging.INFO):
        assert prune(tmp_path, 30.0) == 1
    assert "Removed the states of 1 fits not used for 30 days" in caplog.text
    assert not old.exists()
    assert young.exists()


def test_reading_a_state_is_using_it(tmp_path: Path) -> None:
    state = aged(tmp_path, KEYS[0], 31)
    assert read_finished(state) is not None
    assert prune(tmp_path, 30.0) == 0


def test_nothing_but_states_is_removed(tmp_path: Path) -> None:
    for name in ("notes", KEYS[0]):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.txt").write_text("mine")
        os.utime(tmp_path / name / "mine.txt", (0, 0))
        os.utime(tmp_path / name, (0, 0))
    (tmp_path / KEYS[1]).write_text("a file")
    aged(tmp_path, "not_a_key", 1000)
    before = sorted(path.as_posix() for path in tmp_path.rglob("*"))
    assert prune(tmp_path, 1.0) == 0
    assert sorted(path.as_posix() for path in tmp_path.rglob("*")) == before
