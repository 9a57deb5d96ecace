"""sVAE+ (Lopez et al. 2023): sparse shifts under a Beta(1, alpha) prior of the inclusion probabilities.

Combinations add up, masks are averaged out exactly, and training starts from a rotated VAE.
"""

from sparseshift.models.options import Options
from sparseshift.presets.preset import Preset

PRESET = Preset(
    Options(shift="additive", mask="bernoulli", mask_prior="beta_map"), recipe="rotation"
)
