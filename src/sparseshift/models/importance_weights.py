"""Log importance weights of particles: what the IWELBO is made of, few particles at a time."""

from collections.abc import Callable

import torch
from torch import Tensor

from sparseshift.data.cells import Cells
from sparseshift.models.particle_likelihood import (
    decoded_at_once,
    even_parts,
    log_likelihood_of,
)
from sparseshift.models.vae import PerturbationVAE
from sparseshift.probability.masked_shift import SubsetMixture

_LOG_2PI = 1.8378770664093453

Draw = Callable[[int], tuple[Tensor, Tensor]]


@torch.no_grad()
def log_weights(
    model: PerturbationVAE,
    cells: Cells,
    n_particles: int,
    generator: torch.Generator | None = None,
    *,
    graph: str = "soft",
) -> Tensor:
    """Log importance weights log p(x | z) p(z | a) / q(z | x), z ~ q, the mask summed out.

    Where the encoder sees the shift, masks and effects are drawn for each particle instead,
    and the average over particles is over them, too.

    Args:
        model: usually in eval mode.
        cells: n cells.
        n_particles: draws a cell.
        generator: of the draws.
        graph: "soft", or "map" for masks on where their probability is above 1/2.

    Returns:
        (particles, n), nats; with all constants, so that exp of it averages to p(x | a).
    """
    density = model.prior.density(cells.design, graph=graph)
    sees_shift = model.posterior_kind == "basal"
    proposal = _with_the_shift if sees_shift else _from_the_cell
    draw = proposal(model, cells, density, generator)
    log_prob = log_likelihood_of(model, cells)
    # an encoder that sees the shift takes the counts anew for each particle
    width = cells.n_genes if sees_shift else model.n_latents
    most = max(1, decoded_at_once(cells.device) // max(1, cells.n_cells * width))
    blocks = []
    for n in even_parts(n_particles, most):
        z, log_ratio = draw(n)
        blocks.append(log_prob(z).add_(log_ratio))
    return torch.cat(blocks) + model.likelihood.constant(cells.counts)


def _from_the_cell(
    model: PerturbationVAE,
    cells: Cells,
    density: SubsetMixture,
    generator: torch.Generator | None,
) -> Draw:
    """Draws z ~ q(z | x), (particles, n, latents), with log p(z | a) - log q(z | x), (particles, n)."""
    mean, std = model.posterior(cells)
    log_prior = density.log_density_of(cells.label)
    log_volume = std.log().sum(-1) + 0.5 * model.n_latents * _LOG_2PI

    def draw(n_particles: int) -> tuple[Tensor, Tensor]:
        noise = _normal(n_particles, mean, generator)
        z = torch.addcmul(mean, std, noise)
        return z, log_prior(z) + _half_square(noise) + log_volume

    return draw


def _with_the_shift(
    model: PerturbationVAE,
    cells: Cells,
    density: SubsetMixture,
    generator: torch.Generator | None,
) -> Draw:
    """Draws a shift and z ~ q(z | x, shift); the ratio is p(z | shift) / q(z | x, shift)."""

    def draw(n_particles: int) -> tuple[Tensor, Tensor]:
        repeated = Cells(
            cells.counts.repeat(n_particles, 1),
            cells.label.repeat(n_particles),
            cells.batch.repeat(n_particles),
            cells.design,
        )
        shift = density.sample_shift(repeated.label, generator)
        particles = (n_particles, cells.n_cells, model.n_latents)
        mean, std = (part.view(particles) for part in model.posterior(repeated, shift))
        noise = _normal(n_particles, mean[0], generator)
        z = mean + std * noise
        from_prior = _half_square(z - shift.view(particles))
        return z, _half_square(noise) - from_prior + std.log().sum(-1)

    return draw


def _half_square(values: Tensor) -> Tensor:
    return 0.5 * values.square().sum(-1)


def _normal(n_particles: int, like: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.randn(
        n_particles,
        *like.shape,
        generator=generator,
        dtype=like.dtype,
        device=like.device,
    )
