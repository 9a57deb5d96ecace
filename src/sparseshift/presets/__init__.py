"""The models by name: one small file each, one line each in the table."""

from dataclasses import fields, replace
from typing import Any

from sparseshift.errors import OptionError
from sparseshift.models.linear_factors import METHODS
from sparseshift.models.options import Options
from sparseshift.presets import (
    beta_vae,
    conditional_vae,
    cpa_vae,
    ivae,
    paper,
    rotated_vae,
    sams_vae,
    svae,
    svae_plus,
    svae_plus_cellwise,
    vae,
)
from sparseshift.presets.preset import Preset

PRESETS: dict[str, Preset] = {
    "vae": vae.PRESET,
    "beta_vae": beta_vae.PRESET,
    "rotated_vae": rotated_vae.PRESET,
    "ivae": ivae.PRESET,
    "svae": svae.PRESET,
    "svae_plus": svae_plus.PRESET,
    "svae_plus_cellwise": svae_plus_cellwise.PRESET,
    "sams_vae": sams_vae.PRESET,
    "cpa_vae": cpa_vae.PRESET,
    "conditional_vae": conditional_vae.PRESET,
    "paper.vae": paper.VAE,
    "paper.beta_vae": paper.BETA_VAE,
    "paper.ivae": paper.IVAE,
    "paper.svae": paper.SVAE,
    "paper.svae_plus": paper.SVAE_PLUS,
}


def get_preset(name: str) -> Preset:
    """The preset of this name.

    Raises:
        OptionError: there is none; the message lists those there are.
    """
    if name not in PRESETS:
        raise OptionError(
            f"There is no model {name!r}. The models are: {', '.join(PRESETS)}; "
            f"the linear baselines: {', '.join(METHODS)}."
        )
    return PRESETS[name]


def build_options(preset: str, options: dict[str, Any]) -> Options:
    """The preset's options with some replaced.

    Raises:
        OptionError: an option does not exist; the message lists those that do.
    """
    defaults = get_preset(preset).options
    known = [field.name for field in fields(Options)]
    if unknown := sorted(set(options) - set(known)):
        raise OptionError(
            f"Unknown option of {preset!r}: {', '.join(unknown)}. Known options: {', '.join(known)}."
        )
    return replace(defaults, **options)
