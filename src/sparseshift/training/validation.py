"""The ELBO of cells kept aside, with the same noise at every evaluation."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from sparseshift.data.cells import CellSource, chunk_size
from sparseshift.models.vae import PerturbationVAE


class Validation(NamedTuple):
    """Means over validation cells, nats a cell; NaN without any.

    Attributes:
        negative_elbo: over cells.
        negative_elbo_macro: averaged over perturbations first.
        objective_macro: the same with the KL terms weighted by the model's beta.
        reconstruction: E_q[log p(x | z)].
        kl: KL(q(z | x) || p(z | a)).
        kl_cost_macro: of `objective_macro` all but the reconstruction.
    """

    negative_elbo: float = math.nan
    negative_elbo_macro: float = math.nan
    objective_macro: float = math.nan
    reconstruction: float = math.nan
    kl: float = math.nan
    kl_cost_macro: float = math.nan


@torch.no_grad()
def validate(model: PerturbationVAE, cells: CellSource, penalty: float) -> Validation:
    """Scores cells in eval mode.

    Args:
        model: in eval mode.
        cells: at least one.
        penalty: what the prior's parameters cost, nats a training cell.
    """
    # the same noise at every evaluation, so that differences between them are the model's
    generator = torch.Generator(device=cells.device).manual_seed(0)
    chunk = chunk_size(cells)
    # small results go into one tensor: in a list they would lie between the large ones and keep
    # the memory that those leave from being used again
    found = cells.design.new_empty(2, cells.n_cells)
    for place, batch in zip(found.split(chunk, dim=1), cells.chunks(chunk), strict=True):
        terms = model.elbo_terms(batch, model.draw_noise(batch, generator))
        reconstruction = terms.reconstruction + model.likelihood.constant(batch.counts)
        place.copy_(torch.stack([reconstruction, terms.kl_latent]))
    reconstruction, kl = found
    n_labels = cells.design.shape[0]
    size = torch.bincount(cells.label, minlength=n_labels)

    def macro(values: Tensor) -> float:
        total = kl.new_zeros(n_labels).index_add_(0, cells.label, values)
        return (total[size > 0] / size[size > 0]).mean().item()

    cost = kl + penalty
    return Validation(
        (cost - reconstruction).mean().item(),
        macro(cost - reconstruction),
        macro(model.beta * cost - reconstruction),
        reconstruction.mean().item(),
        kl.mean().item(),
        macro(model.beta * cost),
    )
