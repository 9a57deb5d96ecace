"""Evidence bounds, in nats: the ELBO as named terms, and the importance-weighted ELBO."""

import math
from typing import NamedTuple

import torch
from torch import Tensor


class ElboTerms(NamedTuple):
    """The parts of the evidence lower bound of a batch of cells, in nats.

    ELBO of cell n = reconstruction_n - kl_latent_n - kl_global / (number of training cells).

    Attributes:
        reconstruction: E_q[log p(x | z)], shape (cells,).
        kl_latent: KL(q(z | x) || p(z | perturbation)), shape (cells,).
        kl_global: what the parameters of the prior cost, in nats for the whole screen, scalar.
    """

    reconstruction: Tensor
    kl_latent: Tensor
    kl_global: Tensor

    def negative_elbo(self, n_training_cells: int, kl_weight: float = 1.0) -> Tensor:
        """Mean negative ELBO a cell, scalar, with both KL terms scaled by `kl_weight`."""
        reconstruction, kl = self.means(n_training_cells)
        return kl_weight * kl - reconstruction

    def means(self, n_training_cells: int) -> tuple[Tensor, Tensor]:
        """Reconstruction and KL terms a cell, the global one included, scalars."""
        kl = self.kl_latent.mean() + self.kl_global / n_training_cells
        return self.reconstruction.mean(), kl


def iwelbo(log_weights: Tensor) -> Tensor:
    """Importance-weighted ELBO: log of the mean weight over particles (Burda et al. 2016, eq. 8).

    Args:
        log_weights: log p(x, z_k | a) - log q(z_k | x), shape (particles, cells), in nats.

    Returns:
        Shape (cells,), nats a cell: a lower bound on log p(x | a), tighter with more particles.
    """
    return torch.logsumexp(log_weights, dim=0) - math.log(log_weights.shape[0])
