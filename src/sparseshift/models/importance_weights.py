"""Log importance weights of particles: what the IWELBO is made of, few particles at a time."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from sparseshift.data.cells import Cells
from sparseshift.models.vae import PerturbationVAE
from sparseshift.probability.masked_shift import SubsetMixture

_LOG_2PI = 1.8378770664093453

Draw = Callable[[int], tuple[Tensor, Tensor]]


def decoded_at_once(device: torch.device) -> int:
    """Floats of decoder output to hold at once where nothing need be kept for a gradient.

    On a CPU as much as stays in a core's cache until it is summed up, elsewhere 200 MB.
    """
    return 300_000 if device.type == "cpu" else 50_000_000


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
    decode, log_prob = model.decoder.prepared(), model.likelihood.prepared(cells.counts)
    covariates = model.covariates(cells)
    (
        in_block,
        in_chunk,
    ) = (  # an encoder that sees the shift takes the counts anew for each particle
        max(1, decoded_at_once(cells.device) // max(1, cells.n_cells * width))
        for width in (cells.n_genes if sees_shift else model.n_latents, cells.n_genes)
    )
    chunks = []
    for block in _split(n_particles, in_block):
        z, log_ratio = draw(block)
        sizes = _split(block, in_chunk)
        for part, ratio in zip(z.split(sizes), log_ratio.split(sizes), strict=True):
            chunks.append(log_prob(decode(part, covariates)).add_(ratio))
    return torch.cat(chunks) + model.likelihood.constant(cells.counts)


def _split(total: int, most: int) -> list[int]:
    """Parts of `total` of nearly the same size, none larger than `most`."""
    n = math.ceil(total / most)
    return [(total + i) // n for i in range(n)]


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
        z = mean + std * noise
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
