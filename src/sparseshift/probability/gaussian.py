"""The normal of log-normalised expression: one mean a cell and gene, one scale a gene."""

import math

import torch
from torch import Tensor


def log_prob(values: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """Log density of each cell, summed over genes, in nats.

    Args:
        values: for example log(1 + counts / total * 10,000), (cells, genes).
        mean: (..., cells, genes).
        log_scale: log of the standard deviation, (genes,).

    Returns:
        (..., cells).
    """
    standardised = (values - mean) * (-log_scale).exp()
    constant = log_scale.sum() + 0.5 * math.log(2.0 * math.pi) * log_scale.shape[0]
    return -0.5 * standardised.square().sum(-1) - constant


def sample(mean: Tensor, log_scale: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Draws values, shape as `mean`."""
    noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype, device=mean.device)
    return torch.addcmul(mean, noise, log_scale.exp())
