"""The state of a fit on disk."""

import json
import logging
import math
import time
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from sparseshift.training.checkpoint import Checkpoint

TENSORS = {
    "model/a": torch.linspace(-1.0, 1.0, 7),
    "b": torch.arange(6).reshape(2, 3),
    "step": torch.tensor(4.0),
    "rng": torch.get_rng_state(),
    "running": torch.zeros(2, dtype=torch.float64),
    "empty": torch.zeros(0, 3),
}
HEADER: dict[str, Any] = {
    "epochs_done": 3, "finished": False, "records": [[0, 0.1 + 0.2, math.nan]],
}  # fmt: skip


def assert_holds(checkpoint: Checkpoint, tensors: dict[str, Tensor]) -> None:
    """Fails unless it reads exactly these tensors, and the header."""
    saved = checkpoint.read()
    assert saved is not None
    assert saved[0].keys() == tensors.keys()
    for name, value in tensors.items():
        assert torch.equal(saved[0][name], value)
        assert saved[0][name].dtype == value.dtype
    assert json.dumps(saved[1]) == json.dumps(HEADER)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "deep" / "phase_0.safetensors")
    assert checkpoint.read() is None
    checkpoint.write(TENSORS, HEADER)
    assert_holds(checkpoint, TENSORS)
    assert_holds(Checkpoint(checkpoint.path), TENSORS)
    later = {**TENSORS, "b": torch.ones(2, requires_grad=True).detach()}
    checkpoint.write(later, HEADER)
    assert_holds(checkpoint, later)
    assert [path.name for path in checkpoint.path.parent.iterdir()] == ["phase_0.safetensors"]


def test_views_that_are_not_contiguous_can_be_written(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "state.safetensors")
    turned = torch.arange(12.0).reshape(3, 4).T
    checkpoint.write({"turned": turned}, HEADER)
    assert_holds(checkpoint, {"turned": turned})


@pytest.mark.parametrize("n_bytes", [0, 1, 7, 8, 30, 200, -1])
def test_a_truncated_file_is_no_state(
    n_bytes: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = Checkpoint(tmp_path / "state.safetensors")
    checkpoint.write(TENSORS, HEADER)
    checkpoint.path.write_bytes(checkpoint.path.read_bytes()[:n_bytes])
    with caplog.at_level(logging.WARNING):
        assert checkpoint.read() is None
    assert f"{checkpoint.path} cannot be read" in caplog.text
    assert "the fit starts anew" in caplog.text


def test_a_foreign_file_is_no_state(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    checkpoint = Checkpoint(tmp_path / "state.safetensors")
    for metadata in (None, {"format": "pt"}, {"state": "{not json"}):
        safetensors.torch.save_file({"x": torch.ones(3)}, checkpoint.path, metadata=metadata)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert checkpoint.read() is None
        assert "cannot be read" in caplog.text
    checkpoint.path.write_text("a letter to someone else")
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert checkpoint.read() is None
    assert "cannot be read" in caplog.text


def test_a_crash_while_writing_leaves_the_state_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = Checkpoint(tmp_path / "state.safetensors")
    checkpoint.write(TENSORS, HEADER)

    def crash(self: Path, target: Path) -> None:
        raise KeyboardInterrupt(f"{self} was not moved to {target}")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", crash)
        with pytest.raises(KeyboardInterrupt):
            checkpoint.write({"other": torch.ones(1)}, {"epochs_done": 99})
    assert_holds(checkpoint, TENSORS)

    def half(_: dict[str, Tensor], path: Path, **__: object) -> None:
        path.write_bytes(b"half a file")
        raise OSError("no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(safetensors.torch, "save_file", half)
        with pytest.raises(OSError, match="no space left"):
            checkpoint.write({"other": torch.ones(1)}, {"epochs_done": 99})
    assert_holds(checkpoint, TENSORS)
    # and what was left lying about does not stand in the way
    checkpoint.write(TENSORS, HEADER)
    assert_holds(checkpoint, TENSORS)


def test_states_are_written_no_more_often_than_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    checkpoint = Checkpoint(tmp_path / "state.safetensors", interval=5.0)
    assert not checkpoint.is_due()
    now = 105.0
    assert checkpoint.is_due()
    checkpoint.write({"x": torch.ones(1)}, HEADER)
    assert not checkpoint.is_due()
    now = 110.5
    assert checkpoint.is_due()


def test_states_that_take_long_to_write_are_written_less_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    replace = Path.replace

    def slow(self: Path, target: Path) -> Path:
        nonlocal now
        now += 2.0
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", slow)
    checkpoint = Checkpoint(tmp_path / "state.safetensors", interval=1.0)
    checkpoint.write(TENSORS, HEADER)
    now += 39.0
    assert not checkpoint.is_due()
    now += 1.5
    assert checkpoint.is_due()
