"""The presets that reproduce the published tables have the published settings."""

import pytest

from sparseshift.presets import PRESETS, get_preset
from sparseshift.presets.preset import Preset

PAPER = [name for name in PRESETS if name.startswith("paper.")]
every_paper_preset = pytest.mark.parametrize("name", PAPER)


def test_the_table_of_the_paper_is_complete() -> None:
    assert [name.removeprefix("paper.") for name in PAPER] == [
        "vae", "beta_vae", "ivae", "svae", "svae_plus",
    ]  # fmt: skip


@every_paper_preset
def test_training_is_as_published(name: str) -> None:
    training = get_preset(name).training
    assert training.max_epochs == 300
    assert training.batch_size == 128
    assert training.learning_rate == 1e-3
    assert training.schedule == "constant"
    assert training.logit_rate == 1.0
    assert training.adam_eps == 0.01
    assert training.weight_decay == 1e-6
    assert training.gradient_clip is None
    assert training.validation_fraction == 0.1
    assert training.kl_weight == 1.0
    # 50 of 300 epochs, whatever the steps an epoch
    assert training.kl_warmup * training.max_epochs == pytest.approx(50)
    # scored after every epoch
    assert training.n_evaluations == training.max_epochs
    # only sVAE+ has a loss that is summed over cells
    assert (training.objective_scale == "screen") == (name == "paper.svae_plus")


@every_paper_preset
def test_networks_are_as_published(name: str) -> None:
    options = get_preset(name).options
    assert (options.n_layers, options.n_hidden) == (2, 128)
    assert options.normalisation == "batch"
    assert options.dropout == 0.1
    assert options.likelihood == "nb"
    assert options.posterior == "cells"
    assert options.anchor_control is False
    assert options.effect == "point"
    assert options.effect_start == 1.0
    assert options.beta == (10.0 if name == "paper.beta_vae" else 1.0)


@pytest.mark.parametrize("name", ["paper.ivae", "paper.svae", "paper.svae_plus"])
def test_masks_are_as_published(name: str) -> None:
    preset: Preset = get_preset(name)
    assert preset.options.shift == "table"
    assert preset.options.mask == "bernoulli"
    assert preset.options.mask_draw == "per_cell"
    assert preset.options.temperature == 1.0
    assert preset.options.initial_logit == 5.0
    costs = {"ivae": "none", "svae": "l1_mean_loss", "svae_plus": "beta_map"}
    assert preset.options.mask_prior == costs[name.removeprefix("paper.")]
    assert preset.adaptation == "paper"
    assert preset.training.freeze_graph


def test_the_beta_prior_counts_the_rows_of_the_table() -> None:
    assert get_preset("paper.svae_plus").options.alpha is None


@pytest.mark.parametrize("name", ["paper.vae", "paper.beta_vae"])
def test_models_without_shifts_are_trained_once(name: str) -> None:
    assert get_preset(name).options.shift == "none"
    assert get_preset(name).recipe == "plain"
