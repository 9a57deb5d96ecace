"""Placing new perturbations in a trained model: all but their shift stays as it is.

With the encoder frozen and the masks of new rows on, the ELBO depends on the new effects only
through -1/2 sum_n ||mu(x_n) - D_n e||^2, so the optimum is closed form: the mean posterior mean of
the support cells, less what trained parts of a combination already explain. (The paper fits the
same thing by gradient on the cells it scores; paper's code, stage 3.)
"""

import torch
from torch import Tensor

from sparseshift.data.cells import Cells
from sparseshift.models.least_squares import additive_effects, label_means
from sparseshift.models.masks import FixedMask
from sparseshift.models.priors import LatentPrior, ShiftPrior, StandardNormalPrior
from sparseshift.probability.masked_shift import shift_moments


@torch.no_grad()
def adapted_prior(
    prior: LatentPrior, posterior_mean: Tensor, support: Cells, n_known: int
) -> LatentPrior:
    """The prior with rows for new perturbations, fitted to support cells.

    Least squares over the labels of the support cells, weighted by their cells; where only the
    sum of two new perturbations was seen, the solution of smallest norm splits it evenly.

    Args:
        prior: of the trained model, with n_known rows.
        posterior_mean: mean of q(z | x) of the support cells, (cells, latents).
        support: the cells; their design has the known perturbations first, then the new ones.
        n_known: rows of the trained prior.

    Returns:
        A prior with a row for every column of the support's design. A standard normal prior has
        nothing to adapt: it only grows.
    """
    n_latents = posterior_mean.shape[1]
    n_rows = support.design.shape[1]
    if isinstance(prior, StandardNormalPrior):
        return StandardNormalPrior(n_rows, n_latents).to(posterior_mean.device)
    inclusion, effect = prior.inclusion_probability(), prior.effect()
    label_mean, size = label_means(posterior_mean, support.label, support.design.shape[0])
    known_shift, _ = shift_moments(support.design[:, :n_known], inclusion, effect)
    new_design = support.design[:, n_known:]
    solution = additive_effects(label_mean - known_shift, size, new_design).to(effect)
    ones = torch.ones_like(solution)
    return ShiftPrior(torch.cat([effect, solution]), FixedMask(torch.cat([inclusion, ones])))
