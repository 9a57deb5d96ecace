"""A fit that was interrupted goes on, and ends with the numbers of one that was not."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData

import sparseshift as ss
from sparseshift.fitted_model import FittedModel
from sparseshift.training.checkpoint import Checkpoint
from sparseshift.training.run import Run

Fit = Callable[..., FittedModel]
# what draws: dropout, masks and effects, two phases with a rotation between, two with a frozen graph
RECIPES: dict[str, dict[str, Any]] = {
    "vae": {"dropout": 0.2},
    "svae_plus": {"dropout": 0.2, "warm_start": "auto"},
    "sams_vae": {"dropout": 0.1},
    "rotated_vae": {"warm_start": "auto"},
    "paper.svae_plus": {"warm_start": "auto", "max_epochs": 4},
}


class Killed(BaseException):
    """Stands for whatever ends a process."""


@pytest.fixture(autouse=True)
def _a_state_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Checkpoint, "is_due", lambda _checkpoint: True)


@pytest.fixture
def fit(training_screen: AnnData, small: dict[str, Any], tmp_path: Path) -> Fit:
    """A fit of eight epochs that keeps its state in a folder, unless told otherwise."""

    def run(preset: str, screen: AnnData = training_screen, **changes: Any) -> FittedModel:
        settings = {"max_epochs": 8, "batch_size": 60, "checkpoints": tmp_path / "states"}
        return ss.fit(screen, preset, **{**small, "steps": 30, **settings, **changes})

    return run


def kill(fit: Fit, preset: str, epochs: int, **options: Any) -> None:
    """A fit that ends in the middle of the epoch after so many, counted over all phases."""
    n_steps = 0
    step = Run._step

    def counted(self: Run, index: torch.Tensor, number: int) -> None:
        nonlocal n_steps
        if n_steps == epochs * self.steps_per_epoch + 1:
            raise Killed
        n_steps += 1
        step(self, index, number)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Run, "_step", counted)
        with pytest.raises(Killed):
            fit(preset, **options)


def assert_same(a: FittedModel, b: FittedModel) -> None:
    """Bit for bit."""
    assert a.spec == b.spec
    assert a.records.best == b.records.best
    pd.testing.assert_frame_equal(a.history, b.history, check_exact=True)
    ours, theirs = a.module.state_dict(), b.module.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def keys(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("preset", list(RECIPES))
@pytest.mark.parametrize("epochs", [1, 4, 6])
def test_an_interrupted_fit_ends_as_if_nothing_had_happened(
    preset: str, epochs: int, fit: Fit, training_screen: AnnData, tmp_path: Path
) -> None:
    options = RECIPES[preset]
    whole = fit(preset, checkpoints=None, **options)
    kill(fit, preset, epochs, **options)
    resumed = fit(preset, **options)
    assert_same(resumed, whole)
    # what the model says of cells is the same too, and so is one that was finished before
    assert_same(fit(preset, **options), whole)
    known = training_screen[:40]
    pd.testing.assert_series_equal(
        resumed.iwelbo(known, 2), whole.iwelbo(known, 2), check_exact=True
    )
    assert len(keys(tmp_path / "states")) == 1


def test_a_fit_goes_on_from_the_epoch_it_reached(
    fit: Fit, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kill(fit, "vae", 3)
    done: list[int] = []
    epoch = Run.epoch

    def counted(self: Run) -> None:
        epoch(self)
        done.append(self.epochs_done)

    monkeypatch.setattr(Run, "epoch", counted)
    with caplog.at_level(logging.INFO):
        fit("vae")
    assert done == [4, 5, 6, 7, 8]
    assert "Going on from a checkpoint: 3 of 8 epochs" in caplog.text
    with caplog.at_level(logging.INFO):
        fit("vae")
    assert len(done) == 5
    assert "Finished before, not trained again" in caplog.text


def test_a_finished_fit_keeps_one_small_file(fit: Fit, tmp_path: Path) -> None:
    model = fit("svae_plus", warm_start="auto")
    (directory,) = (tmp_path / "states").iterdir()
    (file,) = directory.iterdir()
    weights = sum(v.numel() * v.element_size() for v in model.module.state_dict().values())
    assert file.stat().st_size < weights + 20_000


def changed_count(screen: AnnData) -> AnnData:
    screen = screen.copy()
    counts = screen.X.toarray()
    counts[7, 3] += 1
    screen.X = counts
    return screen


def changed_labels(screen: AnnData) -> AnnData:
    screen = screen.copy()
    labels = screen.obs["gene"].to_numpy(dtype=object)
    screen.obs["gene"] = np.where(labels == "A", "B", np.where(labels == "B", "A", labels))
    return screen


def two_cells_swapped(screen: AnnData) -> AnnData:
    order = np.arange(screen.n_obs)
    order[[0, 90]] = [90, 0]
    return screen[order]


def test_another_fit_has_another_state(fit: Fit, training_screen: AnnData, tmp_path: Path) -> None:
    states = tmp_path / "states"
    fit("svae_plus")
    changes: list[Callable[[], FittedModel]] = [
        lambda: fit("svae_plus", seed=1),
        lambda: fit("svae_plus", n_latents=2),
        lambda: fit("svae_plus", alpha=3.0),
        lambda: fit("svae_plus", learning_rate=0.004),
        lambda: fit("svae_plus", max_epochs=7),
        lambda: fit("svae_plus", warm_start="auto"),
        lambda: fit("svae_plus", batch="batch"),
        lambda: fit("svae_plus", control=None),
        lambda: fit("sams_vae"),
        lambda: fit("svae_plus", changed_count(training_screen)),
        lambda: fit("svae_plus", changed_labels(training_screen)),
        lambda: fit("svae_plus", two_cells_swapped(training_screen)),
        lambda: fit("svae_plus", training_screen[:, :19]),
    ]
    for number, change in enumerate(changes):
        change()
        assert len(keys(states)) == number + 2, number
    before = keys(states)
    fit("svae_plus", storage="disk")  # the same numbers, wherever the counts lie
    fit("svae_plus", training_screen.copy())
    assert keys(states) == before


def test_linear_baselines_keep_no_state(training_screen: AnnData, tmp_path: Path) -> None:
    ss.fit(
        training_screen, "pca", perturbation="gene", n_latents=2, checkpoints=tmp_path / "states"
    )
    assert not (tmp_path / "states").exists()
