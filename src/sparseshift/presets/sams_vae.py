"""SAMS-VAE (Bereket & Karaletsos 2023): z = basal state + sparse additive shifts with posteriors.

The encoder sees the shift and gives the basal state, so masks and effects are drawn, once a batch.
"""

from sparseshift.models.options import Options
from sparseshift.presets.preset import Preset

PRESET = Preset(
    Options(
        posterior="basal",
        shift="additive",
        mask="bernoulli",
        mask_draw="per_batch",
        mask_prior="bernoulli_kl",
        effect="normal",
    ),
    adaptation="gradient",
)
