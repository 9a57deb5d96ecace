"""Conditional VAE (Sohn et al. 2015): encoder and decoder see the perturbation, z does not move."""

from sparseshift.models.options import Options
from sparseshift.presets.preset import Preset

PRESET = Preset(Options(shift="none", posterior="conditional"), adaptation="gradient")
