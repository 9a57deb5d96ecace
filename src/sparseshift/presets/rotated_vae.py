"""A plain VAE, then the rotation of its latents in which mean shifts are sparsest; no refinement."""

from sparseshift.models.options import Options
from sparseshift.presets.preset import Preset

PRESET = Preset(
    Options(shift="additive", mask="bernoulli", mask_prior="beta_map"), recipe="rotation_only"
)
