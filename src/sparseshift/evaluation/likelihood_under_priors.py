"""The IWELBO of the same cells under many priors, from the same particles.

Where the encoder sees cells alone, z ~ q(z | x), log p(x | z) and log q(z | x) are the same for every prior:
they are made once, and each prior only adds its own log p(z | a).
"""

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor

from sparseshift.data.cells import CellSource
from sparseshift.models.adaptation import with_new_rows
from sparseshift.models.importance_weights import log_weights
from sparseshift.models.particle_likelihood import decoded_at_once
from sparseshift.models.priors import LatentPrior
from sparseshift.models.vae import PerturbationVAE
from sparseshift.probability.bounds import iwelbo
from sparseshift.probability.masked_shift import SubsetMixture
from sparseshift.training.memory import undisturbed
from sparseshift.training.threads import one_thread

_PARTICLES_DECODED = 32  # as in `likelihood.cell_iwelbo`: the same chunks, hence the same draws


@one_thread()
@undisturbed()
@torch.no_grad()
def cell_iwelbo_under(
    model: PerturbationVAE,
    cells: CellSource,
    priors: Sequence[LatentPrior],
    n_particles: int,
    seed: int,
) -> Tensor:
    """`likelihood.cell_iwelbo` of the model with each of these priors in the place of its own.

    Args:
        model: whose encoder sees cells alone.
        cells: their design has the columns that the priors have rows for.
        priors: over the same latents.
        n_particles: draws a cell, the same for all priors, and those of `cell_iwelbo` with this seed.
        seed: of the draws.

    Returns:
        (priors, cells), nats.
    """
    if model.posterior_kind != "cells":
        raise ValueError(f"An encoder of kind {model.posterior_kind!r} depends on the prior.")
    bounds = cells.design.new_empty(len(priors), cells.n_cells)
    if cells.n_cells == 0 or not priors:
        return bounds
    densities = [prior.density(cells.design) for prior in priors]
    generator = torch.Generator(device=cells.device).manual_seed(seed)
    share = decoded_at_once(cells.device) // (cells.n_genes * min(n_particles, _PARTICLES_DECODED))
    size = max(1, min(cells.n_cells, share))
    for place, batch in zip(bounds.split(size, dim=1), cells.chunks(size), strict=True):
        flat = _FlatPrior()
        without_prior = log_weights(with_new_rows(model, flat), batch, n_particles, generator)
        z = torch.cat(flat.asked.z)
        for row, density in zip(place, densities, strict=True):
            row.copy_(iwelbo(without_prior + density.log_density_of(batch.label)(z)))
    return bounds


class _Asked:
    """A density of 1 everywhere, which keeps the z that it is asked for."""

    def __init__(self) -> None:
        self.z: list[Tensor] = []

    def log_density_of(self, label: Tensor) -> Callable[[Tensor], Tensor]:
        del label

        def log_density(z: Tensor) -> Tensor:
            self.z.append(z)
            return z.new_zeros(z.shape[:-1])

        return log_density


class _FlatPrior(LatentPrior):
    """With it, log weights are log p(x | z) - log q(z | x)."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = _Asked()

    def density(self, design: Tensor, *, graph: str = "soft") -> SubsetMixture:
        del design, graph
        return cast(SubsetMixture, self.asked)
