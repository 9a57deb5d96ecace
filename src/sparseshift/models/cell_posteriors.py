"""A posterior of its own for each cell, fitted by gradient, in place of one that an encoder gives.

An encoder is a compromise over all cells. Where counts are deep the posterior of a cell is narrow and an
encoder of usual size misses it by more than its width (the amortisation gap, Cremer et al. 2018); a
decoder that is trained with such posteriors learns to suit the encoder, and the latents are bent.
"""

import math

import torch
from torch import Tensor

from sparseshift.data.cells import Cells
from sparseshift.models.vae import PerturbationVAE

_FIRST, _SECOND = 0.8, 0.95  # decay of the moments, a step a visit: there are few visits


class CellPosteriors:
    """Means and log standard deviations of q(z_n) of all cells, and what Adam's rule remembers of them.

    Args:
        mean: where the means start, (cells, latents).
        std: where the standard deviations start, (cells, latents).
    """

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        self.values = torch.cat([mean, std.log()], dim=1)
        self.first = torch.zeros_like(self.values)
        self.second = torch.zeros_like(self.values)
        self.visits = self.values.new_zeros(len(mean), 1)

    @property
    def mean(self) -> Tensor:
        """(cells, latents)."""
        return self.values.chunk(2, dim=1)[0]

    def take(self, index: Tensor) -> Tensor:
        """Means, then log standard deviations of some cells, a leaf, (n, 2 latents)."""
        return self.values[index].requires_grad_()

    @torch.no_grad()
    def descend(self, index: Tensor, gradient: Tensor, rate: float) -> None:
        """A step of Adam's rule (Kingma and Ba 2015) for some cells.

        Args:
            index: the cells, each once.
            gradient: of what each loses, in nats per unit, (n, 2 latents).
            rate: length of a step, in units of z and of log standard deviations.
        """
        self.visits[index] += 1.0
        self.first[index] = self.first[index].lerp(gradient, 1.0 - _FIRST)
        self.second[index] = self.second[index].lerp(gradient.square(), 1.0 - _SECOND)
        visits = self.visits[index]
        size = (self.second[index] / (1.0 - _SECOND**visits)).sqrt() + 1e-6
        self.values[index] -= rate / (1.0 - _FIRST**visits) * self.first[index] / size


def cosine(done: float) -> float:
    """From 1 to 0, half a cosine, as the share `done` goes from 0 to 1."""
    return 0.5 * (1.0 + math.cos(math.pi * done))


def refined_means(
    model: PerturbationVAE,
    cells: Cells,
    prior_variance: Tensor,
    *,
    n_steps: int,
    rate: float = 0.1,
) -> Tensor:
    """Posterior means of cells, each fitted on its own from where the encoder puts it, (cells, latents).

    Maximises E_q[log p(x | z)] - KL(q || N(0, prior_variance)): no label is asked for, so that cells of
    unknown perturbations are placed as the others are.

    Args:
        model: in eval mode, with a posterior that sees cells alone; not changed.
        cells: the cells.
        prior_variance: of z over all perturbations, (latents,).
        n_steps: of gradient; 0 gives the encoder's means.
        rate: of the first step, see `CellPosteriors.descend`.
    """
    with torch.no_grad():
        posteriors = CellPosteriors(*model.posterior(cells))
    generator, noise = torch.Generator().manual_seed(0), prior_variance
    everyone = torch.arange(cells.n_cells, device=model.device)
    for step in range(n_steps):
        own = posteriors.take(everyone)
        mean, log_std = own.chunk(2, dim=1)
        # one draw for all cells, so that none depends on those beside it; every second time the
        # opposite, so that what it pulls all of them towards is taken back
        noise = -noise if step % 2 else torch.randn(mean.shape[1:], generator=generator).to(mean)
        z = mean + log_std.exp() * noise
        scores = model.decoder(z, model.covariates(cells))
        square = (mean.square() + (2.0 * log_std).exp()) / prior_variance
        loss = (0.5 * square - log_std).sum() - model.likelihood.log_prob(
            cells.counts, scores
        ).sum()
        (gradient,) = torch.autograd.grad(loss, own)
        posteriors.descend(everyone, gradient, rate * cosine(step / n_steps))
    return posteriors.mean
