"""What every preset can do once it is fitted."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData

import sparseshift as ss
from sparseshift import fitted_model
from sparseshift.data.design import Design
from sparseshift.fitted_model import FittedModel
from sparseshift.models.adaptation import has_closed_form
from sparseshift.models.vae import PerturbationVAE
from sparseshift.presets import PRESETS, get_preset
from sparseshift.training import recipes
from sparseshift.training.gradient_adaptation import adapted_by_gradient

every_preset = pytest.mark.parametrize("preset", PRESETS)
KNOWN = ("ctrl", "A", "B", "B+A")
SETTINGS: dict[str, Any] = {
    "perturbation": "gene", "control": "ctrl", "batch": "batch",
    "n_latents": 3, "n_hidden": 8, "steps": 6, "learning_rate": 0.02,
}  # fmt: skip


@pytest.fixture(scope="module", name="models")
def fit_every_preset(training_screen: AnnData) -> Iterator[dict[str, FittedModel]]:
    """A few steps of each, by its own recipe but for the search for a rotation."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(recipes, "start_from_rotation", lambda *_, **__: None)
        quick = partial(adapted_by_gradient, steps=20)
        patched.setattr(fitted_model, "adapted_by_gradient", quick)
        yield {name: ss.fit(training_screen, name, **SETTINGS) for name in PRESETS}


Models = dict[str, FittedModel]
AssertSame = Callable[[FittedModel, FittedModel, AnnData], None]


@every_preset
def test_saving_and_loading_change_nothing(
    preset: str, models: Models, small_screen: AnnData, tmp_path: Path, assert_same: AssertSame
) -> None:
    known = small_screen[small_screen.obs["gene"].isin(KNOWN)]
    models[preset].save(tmp_path / "model")
    loaded = ss.load(tmp_path / "model")
    assert_same(models[preset], loaded, known)
    adapted = models[preset].adapt(small_screen)
    adapted.save(tmp_path / "adapted")
    assert_same(adapted, ss.load(tmp_path / "adapted"), small_screen)
    assert_same(adapted, loaded.adapt(small_screen), small_screen)


def test_a_frozen_graph_of_any_prior_can_be_loaded(
    training_screen: AnnData, tmp_path: Path, assert_same: AssertSame
) -> None:
    model = ss.fit(training_screen, "paper.svae", mask_prior="edge_budget", **SETTINGS)
    model.save(tmp_path)
    assert_same(model, ss.load(tmp_path), training_screen)


@every_preset
def test_rows_are_those_of_the_design(preset: str, models: Models) -> None:
    options = get_preset(preset).options
    anchor = "ctrl" if options.anchor_control else None
    labels = ["ctrl", "A", "B", "A+B"]
    expected = Design.of_labels(labels, anchor, additive=options.additive).perturbations
    assert tuple(models[preset].effects().index) == expected
    assert tuple(models[preset].inclusion_probability().index) == expected


@every_preset
def test_adapting_leaves_what_was_trained(
    preset: str, models: Models, small_screen: AnnData, training_screen: AnnData
) -> None:
    model = models[preset]
    before = {k: v.clone() for k, v in model.module.state_dict().items()}
    adapted = model.adapt(small_screen)
    after = model.module.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(p.requires_grad == ("logit" not in n or not adapted.spec.training.freeze_graph)
               for n, p in model.module.named_parameters())  # fmt: skip
    known = model.effects().index
    for new, old in (
        (adapted.effects(), model.effects()),
        (adapted.inclusion_probability(), model.inclusion_probability()),
    ):
        pd.testing.assert_frame_equal(new.loc[known], old)
        assert set(new.index) > set(known)
        if get_preset(preset).options.shift != "none":
            assert new.loc[~new.index.isin(known)].to_numpy().all()
    np.testing.assert_array_equal(adapted.latents(training_screen), model.latents(training_screen))
    bound = adapted.iwelbo(small_screen, 5)
    assert bound.index.tolist() == ["A", "A+B", "A+C", "B", "C", "C+D", "D", "ctrl"]
    assert np.isfinite(bound).all()


@every_preset
def test_only_a_model_whose_encoder_sees_the_perturbation_needs_labels_for_latents(
    preset: str, models: Models, training_screen: AnnData
) -> None:
    bare = AnnData(training_screen.X, var=training_screen.var)
    if get_preset(preset).options.posterior == "cells":
        expected = models[preset].latents(training_screen)
        np.testing.assert_array_equal(models[preset].latents(bare), expected)
    else:
        with pytest.raises(ss.ScreenError, match="obs has no column 'gene'"):
            models[preset].latents(bare)


@every_preset
def test_what_is_recorded(preset: str, models: Models) -> None:
    history, made = models[preset].history, get_preset(preset)
    n_phases = {"plain": 1, "rotation_only": 1, "rotation": 3, "cellwise": 4}[made.recipe]
    n_phases += made.training.freeze_graph
    assert sorted(set(history["phase"])) == list(range(n_phases))
    assert np.isfinite(history.to_numpy(dtype=float)).all()
    assert models[preset].spec.recipe == made.recipe
    assert models[preset].spec.training.adam_eps == made.training.adam_eps
    # steps that are given replace the epochs of the preset
    assert models[preset].spec.training.max_epochs is None


@pytest.mark.parametrize(
    ("preset", "options"),
    [
        ("svae", {"likelihood": "poisson"}),
        ("svae", {"likelihood": "gaussian"}),
        ("svae", {"mask_prior": "edge_budget"}),
        ("svae", {"mask_prior": "beta_bernoulli", "effect": "normal"}),
        ("sams_vae", {"mask_draw": "per_cell"}),
        ("conditional_vae", {"shift": "additive", "mask": "bernoulli"}),
        # what a preset says of adaptation holds for its own parts
        ("svae", {"posterior": "basal", "mask_draw": "per_batch"}),
        ("ivae", {"posterior": "conditional"}),
    ],
)
def test_parts_can_be_combined(
    preset: str,
    options: dict[str, Any],
    models: Models,
    training_screen: AnnData,
    small_screen: AnnData,
    tmp_path: Path,
    assert_same: AssertSame,
) -> None:
    assert preset in models  # whose fixture makes adaptation quick
    model = ss.fit(training_screen, preset, **SETTINGS, **options)
    model.save(tmp_path)
    assert_same(model, ss.load(tmp_path), training_screen)
    assert np.isfinite(model.history.to_numpy(dtype=float)).all()
    adapted = model.adapt(small_screen)
    assert np.isfinite(adapted.iwelbo(small_screen, 3)).all()


@every_preset
def test_new_perturbations_are_placed_as_the_preset_says(
    preset: str, models: Models, small_screen: AnnData, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, float]] = []

    def watched(model: PerturbationVAE, *arguments: Any, **settings: Any) -> PerturbationVAE:
        asked.append({k: v for k, v in settings.items() if k != "seed"})
        return adapted_by_gradient(model, *arguments, **settings, steps=1)

    monkeypatch.setattr(fitted_model, "adapted_by_gradient", watched)
    models[preset].adapt(small_screen)
    # as published: in training mode, at rate .005
    expected: dict[str, list[dict[str, float]]] = {
        "closed_form": [],
        "gradient": [{"learning_rate": 0.05, "training_mode": False}],
        "paper": [{"learning_rate": 0.005, "training_mode": True}],
    }
    assert asked == expected[get_preset(preset).adaptation]


@pytest.mark.parametrize(
    ("options", "closed_form"),
    [
        ({}, True),
        ({"mask": "bernoulli", "mask_draw": "per_cell"}, True),
        ({"effect": "normal"}, False),
        ({"posterior": "basal"}, False),
        ({"posterior": "conditional"}, False),
    ],
)
def test_new_rows_have_a_closed_form_where_nothing_else_acts_on_them(
    options: dict[str, Any], closed_form: bool, training_screen: AnnData
) -> None:
    model = ss.fit(training_screen, "ivae", **{**SETTINGS, "steps": 1}, **options)
    assert has_closed_form(model.module) == closed_form
