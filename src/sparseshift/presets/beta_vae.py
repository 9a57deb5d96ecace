"""beta-VAE (Higgins et al. 2017): a VAE whose KL term weighs more."""

from sparseshift.models.options import Options
from sparseshift.presets.preset import Preset

PRESET = Preset(Options(shift="none", beta=8.0))
