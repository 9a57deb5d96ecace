"""From a trained plain VAE to the start of a sparse model: `models.warm_start` on training cells."""

import logging

import torch

from sparseshift.data.cells import CellSource
from sparseshift.models.effects import NormalEffect
from sparseshift.models.masks import BernoulliMask
from sparseshift.models.priors import ShiftPrior
from sparseshift.models.vae import PerturbationVAE
from sparseshift.models.warm_start.absorption import absorb
from sparseshift.models.warm_start.start import RotatedStart, rotated_start
from sparseshift.training.encoded import encoded

logger = logging.getLogger(__name__)

_TRUSTED = 0.5  # share of starts that must agree
_LOGIT = 2.0  # sigmoid(2) = .88: sure enough to be seen, not so sure as to be slow to change


@torch.no_grad()
def start_from_rotation(
    model: PerturbationVAE, train: CellSource, seed: int, *, last: bool = True
) -> RotatedStart:
    """Rotates the latents to sparse shifts, and starts effects and masks from what is seen there.

    Args:
        model: encoder and decoder trained; the prior starts anew; changed in place.
        train: the training cells.
        seed: of the starts of the rotation.
        last: whether no other rotation follows: of the last one a warning says if it is not determined.
    """
    mean, std = encoded(model, train)
    variance = std.square_()  # of many cells each of these is as large as a tenth of their counts
    start = rotated_start(mean, variance, train.label, train.design, seed=seed)
    absorb(model, start.transform, start.origin, variance.mean(0))
    if isinstance(model.prior, ShiftPrior):
        _start_prior(model.prior, start)
    doubtful = last and start.agreement < _TRUSTED
    logger.log(
        logging.WARNING if doubtful else logging.INFO,
        "Rotated %d latents to sparse shifts: %.0f %% of the starts agree%s",
        model.n_latents,
        100.0 * start.agreement,
        "; sparsity alone does not tell latents apart here" if doubtful else "",
    )
    return start


def _start_prior(prior: ShiftPrior, start: RotatedStart) -> None:
    prior.effects.table.copy_(start.effects)
    if isinstance(prior.effects, NormalEffect):
        known = start.cells.clamp(min=1.0).rsqrt().log().unsqueeze(1)
        prior.effects.log_std.copy_(known.expand_as(start.effects))
    if isinstance(prior.mask, BernoulliMask):
        prior.mask.prior.observe(start.effects, start.cells)
        inclusion = prior.mask.prior.best_inclusion(start.effects, start.cells)
        prior.mask.logit.copy_(torch.logit(inclusion).clamp(-_LOGIT, _LOGIT))
