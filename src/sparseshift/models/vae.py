"""The one VAE of the project: encoder, decoder, likelihood, and a latent prior.

z_n | a_n ~ prior,  scores_n = decoder(z_n, batch_n),  x_n | z_n ~ likelihood(scores_n, total_n).
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sparseshift.data.cells import Cells
from sparseshift.models.likelihoods import Likelihood
from sparseshift.models.networks import Decoder, Encoder
from sparseshift.models.priors import LatentPrior, ShiftNoise
from sparseshift.probability.bounds import ElboTerms

POSTERIORS = ("cells", "basal", "conditional")


class Noise(NamedTuple):
    """All that is random in one evaluation of the ELBO.

    Attributes:
        latent: standard normal, (cells, latents).
        shift: for the draws of masks and effects, if the prior makes any.
    """

    latent: Tensor
    shift: ShiftNoise = ShiftNoise()


class PerturbationVAE(nn.Module):
    """A VAE of cells whose latent prior depends on the perturbation.

    Args:
        encoder: of the cells' counts and what else it is given.
        decoder: scores from z and covariates.
        prior: p(z | perturbation).
        likelihood: p(x | scores).
        n_batches: one-hot columns of the decoder's covariates, if there are several.
        posterior: what the encoder sees. "cells": q(z | x). "basal": q(z | x, shift), the encoder
            gives z less the shift (SAMS-VAE). "conditional": encoder and decoder see `embedding`.
        embedding: (perturbations, columns), of "conditional".
        beta: weight of the KL terms in training.
    """

    def __init__(
        self,
        encoder: Encoder,
        decoder: Decoder,
        prior: LatentPrior,
        likelihood: Likelihood,
        *,
        n_batches: int = 1,
        posterior: str = "cells",
        embedding: Tensor | None = None,
        beta: float = 1.0,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.prior = prior
        self.likelihood = likelihood
        self.n_batches = n_batches
        self.posterior_kind = posterior
        self.embedding = None if embedding is None else nn.Parameter(embedding)
        self.beta = beta

    @property
    def n_latents(self) -> int:
        """Dimensions of z."""
        return self.encoder.n_latents

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.encoder.head.weight.device

    def draw_noise(self, cells: Cells, generator: torch.Generator | None = None) -> Noise:
        """What one evaluation of the ELBO of these cells needs."""
        weight = self.encoder.head.weight
        latent = torch.randn(
            cells.n_cells,
            self.n_latents,
            generator=generator,
            dtype=weight.dtype,
            device=weight.device,
        )
        return Noise(latent, self.prior.draw_noise(cells, generator))

    def posterior(self, cells: Cells, shift: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of q(z | x, ...), each (cells, latents).

        Args:
            cells: the cells; their labels matter only where the encoder sees the perturbation.
            shift: for "basal", (cells, latents); None: the expected one.
        """
        if self.posterior_kind == "cells":
            return self.encoder(cells.counts)
        if self.posterior_kind == "conditional":
            return self.encoder(cells.counts, self._embedded(cells))
        if shift is None:
            shift = self.prior.expected_shift(cells.design)[cells.label]
        basal, std = self.encoder(cells.counts, shift)
        return basal + shift, std

    def forward(self, cells: Cells, noise: Noise, n_training_cells: int = 1) -> ElboTerms:
        """`elbo_terms`, for `torch.func.functional_call`."""
        return self.elbo_terms(cells, noise, n_training_cells)

    def elbo_terms(self, cells: Cells, noise: Noise, n_training_cells: int = 1) -> ElboTerms:
        """The terms of the ELBO with one reparametrised draw a cell, in nats.

        The reconstruction leaves out what depends on the data alone (`Likelihood.constant`).

        Args:
            cells: a batch of n cells.
            noise: `draw_noise` of them.
            n_training_cells: cells of the screen; only the published l1 penalty asks for it.
        """
        shift = self.prior.shift(cells, noise.shift)
        seen = shift.mean if self.posterior_kind == "basal" else None
        mean, std = self.posterior(cells, seen)
        z = torch.addcmul(mean, std, noise.latent)
        scores = self.decoder(z, self.covariates(cells))
        return ElboTerms(
            self.likelihood.log_prob(cells.counts, scores),
            shift.kl_divergence(mean, std),
            self.prior.cost(n_training_cells),
        )

    def sample(self, cells: Cells, generator: torch.Generator | None = None) -> Tensor:
        """New cells with the labels, batches and totals of these, (n, genes).

        z comes from the prior of the label, not from the cells' counts, of which only the total
        is used.
        """
        z = self.prior.density(cells.design).sample(cells.label, generator)
        scores = self.decoder(z, self.covariates(cells))
        return self.likelihood.sample(scores, cells.counts.sum(-1, keepdim=True), generator)

    def covariates(self, cells: Cells) -> Tensor | None:
        """What the decoder sees beside z, (cells, columns): batch, and the embedding if any."""
        columns = []
        if self.n_batches > 1:
            one_hot = F.one_hot(cells.batch, self.n_batches)
            columns.append(one_hot.to(self.encoder.head.weight.dtype))
        if self.embedding is not None:
            columns.append(self._embedded(cells))
        return torch.cat(columns, dim=-1) if columns else None

    def _embedded(self, cells: Cells) -> Tensor:
        if self.embedding is None:
            raise RuntimeError("A conditional model has lost its embedding.")
        return (cells.design @ self.embedding)[cells.label]
