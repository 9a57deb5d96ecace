"""sVAE (Lachapelle et al. 2022): sparse shifts, each edge costs the same number of nats."""

from sparseshift.models.options import Options
from sparseshift.presets.preset import Preset

PRESET = Preset(Options(shift="table", mask="bernoulli", mask_prior="l1"))
