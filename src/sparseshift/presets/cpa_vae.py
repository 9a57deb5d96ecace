"""CPA-VAE (Bereket & Karaletsos 2023, after Lotfollahi et al. 2023): SAMS-VAE without masks."""

from sparseshift.models.options import Options
from sparseshift.presets.preset import Preset

PRESET = Preset(
    Options(posterior="basal", shift="additive", mask_draw="per_batch", effect="normal"),
    adaptation="gradient",
)
