"""Odd screens and settings: each works, or is refused with what to do."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from anndata import AnnData

import sparseshift as ss
from sparseshift.errors import OptionError, ScreenError
from sparseshift.fitted_model import FittedModel
from sparseshift.training.checkpoint import Checkpoint

MODELS = ["vae", "ivae", "svae_plus", "sams_vae", "conditional_vae"]
every_kind = pytest.mark.parametrize("preset", MODELS)
SETTINGS: dict[str, Any] = {
    "perturbation": "perturbation",
    "control": "control",
    "n_latents": 3,
    "n_hidden": 8,
    "steps": 12,
}


def screen(**sizes: int) -> AnnData:
    return ss.simulate(
        "paper",
        **{
            "n_perturbations": 4,
            "n_cells_per_perturbation": 20,
            "n_control_cells": 20,
            "n_latents": 3,
            "n_genes": 12,
            **sizes,
        },
    )


def with_counts(change: Callable[[np.ndarray], None]) -> AnnData:
    adata = screen()
    counts = adata.X.toarray()
    change(counts)
    adata.X = counts
    return adata


def assert_usable(model: FittedModel, adata: AnnData) -> None:
    assert np.isfinite(model.latents(adata)).all()
    assert np.isfinite(model.effects().to_numpy()).all()
    assert np.isfinite(model.iwelbo(adata, 5).to_numpy()).all()


@every_kind
def test_one_perturbation(preset: str) -> None:
    adata = screen(n_perturbations=1)
    model = ss.fit(adata, preset, **SETTINGS)
    assert model.effects().shape == (1, 3)
    assert_usable(model, adata)


@every_kind
def test_more_latents_than_genes(preset: str) -> None:
    adata = screen(n_genes=4)
    model = ss.fit(adata, preset, **{**SETTINGS, "n_latents": 9})
    assert model.latents(adata).shape == (100, 9)
    assert_usable(model, adata)


@every_kind
def test_a_last_batch_of_one_cell(preset: str) -> None:
    # 97 cells in batches of 96: one batch of 97, not one of a single cell
    adata = screen()[:97].copy()
    model = ss.fit(adata, preset, **SETTINGS, batch_size=96, validation_fraction=0.0)
    assert_usable(model, adata)


@every_kind
def test_batches_of_one_cell_are_made_of_two(preset: str) -> None:
    adata = screen()
    assert_usable(ss.fit(adata, preset, **SETTINGS, batch_size=1), adata)


@every_kind
def test_genes_without_counts(preset: str) -> None:
    def silence(counts: np.ndarray) -> None:
        counts[:, 3:6] = 0.0

    adata = with_counts(silence)
    assert_usable(ss.fit(adata, preset, **SETTINGS), adata)


@every_kind
def test_latents_that_do_not_vary(preset: str) -> None:
    def one_gene_alone(counts: np.ndarray) -> None:
        counts[:, 1:] = 0.0
        counts[:, 0] += 1.0

    # softmax of a single gene with counts: nothing depends on z
    adata = with_counts(one_gene_alone)
    assert_usable(ss.fit(adata, preset, **SETTINGS), adata)


def test_perturbations_that_do_nothing() -> None:
    adata = screen()
    rng = np.random.default_rng(0)
    adata.obs["perturbation"] = rng.permutation(adata.obs["perturbation"].to_numpy())
    model = ss.fit(adata, "svae_plus", **{**SETTINGS, "steps": 200})
    assert (model.inclusion_probability() < 0.5).all().all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "batch_size=0 must be at least 1"),
        ({"steps": 0}, "steps=0 must be at least 1"),
        ({"max_epochs": 0}, "max_epochs=0 must be at least 1"),
        ({"n_latents": 0}, "n_latents=0 must be at least 1"),
        ({"device": "cuda:99"}, r"device='cuda:99' cannot be used here .*Use 'cpu' or 'auto'"),
        ({"device": "abacus"}, r"device='abacus' cannot be used here .*Use 'cpu' or 'auto'"),
        ({"warm_start": "hot"}, "warm_start='hot' is not one of 'auto', 'rotation', None"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        ss.fit(screen(), "svae_plus", **{**SETTINGS, **settings})


def test_too_few_cells_to_keep_any_aside() -> None:
    adata = screen(n_perturbations=1, n_cells_per_perturbation=1, n_control_cells=1)
    with pytest.raises(ScreenError, match=r"has 2 cells; training needs at least 2 beside the"):
        ss.fit(adata, "vae", **SETTINGS, validation_fraction=0.5)


def test_only_controls_are_refused() -> None:
    adata = screen()
    with pytest.raises(ScreenError, match="no cell is perturbed"):
        ss.fit(adata[adata.obs["perturbation"] == "control"].copy(), "vae", **SETTINGS)


def test_a_state_of_another_model_is_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    adata = screen()
    expected = ss.fit(adata, "vae", **SETTINGS)
    ss.fit(adata, "vae", **SETTINGS, checkpoints=tmp_path)
    (folder,) = tmp_path.iterdir()
    for path in folder.iterdir():
        path.unlink()
    Checkpoint(folder / "phase_0.safetensors").write({"stranger": torch.zeros(3)}, {"of": "other"})
    again = ss.fit(adata, "vae", **SETTINGS, checkpoints=tmp_path)
    np.testing.assert_array_equal(again.latents(adata), expected.latents(adata))
    assert "phase_0.safetensors is of another fit: this one starts anew" in caplog.text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seeds": []}, "seeds=[] must be at least one, and all different"),
        ({"seeds": [1, 1]}, "seeds=[1, 1] must be at least one, and all different"),
        ({"seeds": [0], "checkpoints": "x"}, "fit_seeds takes seeds, and no checkpoints"),
        ({"seeds": [0], "compile": True}, "fit_seeds takes seeds, and no compile"),
    ],
)
def test_impossible_seeds_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=re.escape(message)):
        ss.fit_seeds(screen(), "vae", **{**SETTINGS, **settings})


def test_linear_baselines_have_no_seeds_to_train_together() -> None:
    with pytest.raises(
        OptionError, match=r"'pca' is not trained in steps\. Call fit for each seed"
    ):
        ss.fit_seeds(screen(), "pca", seeds=[0, 1], **SETTINGS)


def test_seeds_together_are_fits_of_their_own() -> None:
    adata = screen()
    # a rotation of hardly trained latents turns rounding into other signs
    settings = {**SETTINGS, "normalisation": "none", "warm_start": None, "n_evaluations": 1}
    together = ss.fit_seeds(adata, "svae_plus", seeds=[3, 1], **settings)
    for model, seed in zip(together, (3, 1), strict=True):
        alone = ss.fit(adata, "svae_plus", seed=seed, **settings)
        assert model.spec == alone.spec
        np.testing.assert_allclose(
            model.latents(adata), alone.latents(adata), rtol=1e-2, atol=1e-2
        )
