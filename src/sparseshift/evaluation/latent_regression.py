"""How much of the true latents a linear map of all learnt ones explains: R², whatever the basis."""

from typing import NamedTuple

import numpy as np

from sparseshift.evaluation.latent_matching import paired_latents, unit_columns


class LatentR2(NamedTuple):
    """Linear R² of true latents.

    Attributes:
        per_latent: (true latents,), in [0, 1].
        mean: over true latents.
    """

    per_latent: np.ndarray
    mean: float


def latent_r2(true: np.ndarray, learnt: np.ndarray) -> LatentR2:
    """Share of each true latent's variance that least squares on all learnt latents explains.

    R² = 1 - RSS / TSS with an intercept (Lopez et al. 2023, Table 1). Any invertible affine map of
    the learnt latents leaves it as it is: it says what they know, not whether they are disentangled.
    It is in sample and not adjusted: latents that know nothing reach rank / (cells - 1) on average,
    .0006 for 15 latents and 25,000 cells. Linearly dependent or constant learnt latents add nothing;
    a true latent that does not vary counts 0.

    Args:
        true: latents the cells were drawn with, (cells, true latents).
        learnt: latents of the same cells, (cells, learnt latents).

    Raises:
        OptionError: not the same cells, fewer than two, values that are not finite.
    """
    true, learnt = paired_latents(true, learnt)
    # centred columns on both sides stand for the intercept; unit length makes the rank scale-free
    target, regressors = unit_columns(true), unit_columns(learnt)
    coefficients = np.linalg.lstsq(regressors, target, rcond=None)[0]
    residual = ((target - regressors @ coefficients) ** 2).sum(axis=0)
    varies = np.any(target != 0.0, axis=0)
    r2 = np.where(varies, np.clip(1.0 - residual, 0.0, 1.0), 0.0)
    return LatentR2(r2, float(r2.mean()))
