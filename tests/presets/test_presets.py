"""The models by name."""

from dataclasses import fields
from typing import Any

import pytest

from sparseshift.errors import OptionError
from sparseshift.models.linear_factors import METHODS
from sparseshift.models.options import Options
from sparseshift.presets import PRESETS, build_options, get_preset
from sparseshift.presets.preset import ADAPTATIONS, Preset
from sparseshift.training.recipes import RECIPES

every_preset = pytest.mark.parametrize("preset", PRESETS)


@every_preset
def test_recipes_and_adaptations_exist(preset: str) -> None:
    assert get_preset(preset).recipe in RECIPES
    assert get_preset(preset).adaptation in ADAPTATIONS


@every_preset
def test_models_are_adapted_in_a_way_that_their_encoder_allows(preset: str) -> None:
    made = get_preset(preset)
    closed_form = made.options.posterior == "cells" and made.options.effect == "point"
    if not closed_form:
        assert made.adaptation == "gradient"
    assert made.recipe == "plain" or made.options.posterior == "cells"


def test_names_are_of_different_models() -> None:
    described = list(PRESETS.values())
    for i, preset in enumerate(described):
        assert preset not in described[:i], list(PRESETS)[i]


def test_options_replace_the_presets() -> None:
    assert build_options("ivae", {}) == get_preset("ivae").options
    changed = build_options("svae", {"n_hidden": 5, "mask_prior": "bernoulli_kl"})
    assert changed == Options(
        n_hidden=5, shift="table", mask="bernoulli", mask_prior="bernoulli_kl"
    )
    assert get_preset("svae").options.n_hidden == 128


def test_unknown_presets_list_the_known() -> None:
    with pytest.raises(
        OptionError,
        match=rf"no model 'svea'\. The models are: {', '.join(PRESETS)}; "
        rf"the linear baselines: {', '.join(METHODS)}\.",
    ):
        get_preset("svea")


def test_unknown_options_list_the_known() -> None:
    known = ", ".join(field.name for field in fields(Options))
    with pytest.raises(
        OptionError, match=rf"Unknown option of 'vae': betta, hidden\. Known options: {known}\."
    ):
        build_options("vae", {"hidden": 3, "betta": 1})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recipe": "twice"}, "recipe='twice' is not one of plain, rotation, rotation_only"),
        ({"adaptation": "none"}, "adaptation='none' is not one of closed_form, gradient, paper"),
    ],
)
def test_a_preset_with_an_unknown_recipe_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Preset(Options(), **options)
