"""iVAE (Khemakhem et al. 2020): each label has a mean of its own, in every latent."""

from sparseshift.models.options import Options
from sparseshift.presets.preset import Preset

PRESET = Preset(Options(shift="table"))
