"""Placing new perturbations in a trained model: all but their shift stays as it is.

With the encoder frozen and the masks of new rows on, the ELBO depends on the new effects only
through -1/2 sum_n ||mu(x_n) - D_n e||^2, so the optimum is closed form: the mean posterior mean of
the support cells, less what trained parts of a combination already explain. (The paper fits the
same thing by gradient on the cells it scores; paper's code, stage 3.) Sparse, an effect is kept with the
inclusion probability that pays most under the prior that training learnt (`models.warm_start.inclusion`).
"""

import torch
from torch import Tensor

from sparseshift.data.cells import CellSource
from sparseshift.models.least_squares import additive_effects, effect_precision, label_means
from sparseshift.models.masks import BernoulliMask
from sparseshift.models.priors import LatentPrior, ShiftPrior, StandardNormalPrior
from sparseshift.models.vae import PerturbationVAE


def has_closed_form(model: PerturbationVAE) -> bool:
    """Whether `adapted_prior` is the optimum: the encoder sees cells alone, effects are points."""
    normal = isinstance(model.prior, ShiftPrior) and model.prior.effects.variance() is not None
    return model.posterior_kind == "cells" and not normal


def has_sparse_form(model: PerturbationVAE) -> bool:
    """Whether `adapted_prior` can be sparse: there is a learnt mask, with a prior."""
    masked = isinstance(model.prior, ShiftPrior) and isinstance(model.prior.mask, BernoulliMask)
    return masked and has_closed_form(model)


@torch.no_grad()
def adapted_prior(
    prior: LatentPrior,
    posterior_mean: Tensor,
    support: CellSource,
    n_known: int,
    *,
    sparse: bool = False,
) -> LatentPrior:
    """The prior with rows for new perturbations, fitted to support cells.

    Least squares over the labels of the support cells, weighted by their cells; where only the
    sum of two new perturbations was seen, the solution of smallest norm splits it evenly.

    Args:
        prior: of the trained model, with n_known rows.
        posterior_mean: mean of q(z | x) of the support cells, (cells, latents).
        support: the cells; their design has the known perturbations first, then the new ones.
        n_known: rows of the trained prior.
        sparse: whether new perturbations get inclusion probabilities, of a prior that `has_sparse_form`; else
            they shift every latent.

    Returns:
        A prior with a row for every column of the support's design. A standard normal prior has
        nothing to adapt: it only grows.
    """
    n_latents = posterior_mean.shape[1]
    if isinstance(prior, StandardNormalPrior):
        n_new = support.design.shape[1] - n_known
        return prior.extended(posterior_mean.new_zeros(n_new, n_latents))
    label_mean, size = label_means(posterior_mean, support.label, support.design.shape[0])
    known_shift = prior.expected_shift(support.design[:, :n_known])
    new_design = support.design[:, n_known:]
    solution = additive_effects(label_mean - known_shift, size, new_design)
    inclusion = None
    if sparse and isinstance(prior, ShiftPrior) and isinstance(prior.mask, BernoulliMask):
        cells = effect_precision(size, new_design).to(solution)
        known = prior.inclusion_probability().to(solution)
        inclusion = prior.mask.prior.inclusion_of_new(solution, cells, known)
    return prior.extended(solution.to(posterior_mean), inclusion)


def with_new_rows(
    model: PerturbationVAE, prior: LatentPrior, embedding: Tensor | None = None
) -> PerturbationVAE:
    """The same networks and likelihood, shared, around another prior (and embedding)."""
    return PerturbationVAE(
        model.encoder,
        model.decoder,
        prior,
        model.likelihood,
        n_batches=model.n_batches,
        posterior=model.posterior_kind,
        embedding=embedding,
        beta=model.beta,
    ).to(model.device)
