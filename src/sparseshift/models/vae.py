"""The one VAE of the project: encoder, decoder, negative binomial, and a latent prior.

z_n | a_n ~ prior,  rho_n = softmax(decoder(z_n, batch_n)),
x_ng | z_n ~ NB(l_n rho_ng, theta_g),  l_n = observed total of cell n.
"""

import torch
from torch import Tensor, nn

from sparseshift.data.cells import Cells
from sparseshift.models.networks import Decoder, Encoder
from sparseshift.models.priors import LatentPrior
from sparseshift.probability import negative_binomial
from sparseshift.probability.bounds import ElboTerms

_LOG_2PI = 1.8378770664093453


class PerturbationVAE(nn.Module):
    """A VAE of counts whose latent prior depends on the perturbation.

    Args:
        encoder: q(z | x).
        decoder: log proportions from z and batch.
        prior: p(z | perturbation).
        n_genes: genes.
    """

    def __init__(
        self, encoder: Encoder, decoder: Decoder, prior: LatentPrior, n_genes: int
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.prior = prior
        self.log_inverse_dispersion = nn.Parameter(torch.zeros(n_genes))

    def elbo_terms(self, cells: Cells, noise: Tensor) -> ElboTerms:
        """The terms of the ELBO with one reparametrised draw a cell, in nats.

        The reconstruction leaves out -log(x!), which is constant (see `negative_binomial.log_factorials`).

        Args:
            cells: a batch of n cells.
            noise: standard normal, (n, latents).
        """
        mean, std = self.encoder(cells.counts)
        log_likelihood = self._log_likelihood(mean + std * noise, cells)
        kl_latent = self.prior.kl_divergence(mean, std, cells.label, cells.design)
        return ElboTerms(log_likelihood, kl_latent, self.prior.penalty())

    def log_weights(
        self, cells: Cells, n_particles: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """Log importance weights log p(x | z) p(z | a) / q(z | x), z ~ q, the mask summed out.

        Args:
            cells: n cells.
            n_particles: draws a cell.
            generator: of the draws.

        Returns:
            (particles, n), nats; with all constants, so that exp of it averages to p(x | a).
        """
        mean, std = self.encoder(cells.counts)
        noise = torch.randn(
            n_particles, *mean.shape, generator=generator, dtype=mean.dtype, device=mean.device
        )
        z = mean + std * noise
        log_q = -0.5 * (noise.square() + _LOG_2PI).sum(-1) - std.log().sum(-1)
        log_prior = self.prior.density(cells.design).log_density(z, cells.label)
        log_x = self._log_likelihood(z, cells) - negative_binomial.log_factorials(cells.counts)
        return log_x + log_prior - log_q

    def sample(self, cells: Cells, generator: torch.Generator | None = None) -> Tensor:
        """Counts of new cells with the labels, batches and totals of these, (n, genes).

        z comes from the prior of the label, not from the cells' counts, of which only the total
        is used.
        """
        z = self.prior.density(cells.design).sample(cells.label, generator)
        log_library = cells.counts.sum(-1, keepdim=True).log()
        log_mean = log_library + self.decoder(z, cells.batch)
        return negative_binomial.sample(log_mean, self.log_inverse_dispersion, generator)

    def _log_likelihood(self, z: Tensor, cells: Cells) -> Tensor:
        log_library = cells.counts.sum(-1, keepdim=True).log()
        log_mean = log_library + self.decoder(z, cells.batch)
        rate = negative_binomial.rate_term(cells.counts, log_mean, self.log_inverse_dispersion)
        return rate + negative_binomial.count_term(cells.counts, self.log_inverse_dispersion)
