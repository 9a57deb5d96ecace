"""VAE of counts (Kingma & Welling 2014; scVI, Lopez et al. 2018): perturbations are not modelled."""

from sparseshift.models.options import Options
from sparseshift.presets.preset import Preset

PRESET = Preset(Options(shift="none"))
