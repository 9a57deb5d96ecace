"""Bernoulli masks: a draw that lets gradients through, and what a posterior over them costs."""

import torch
from torch import Tensor
from torch.nn import functional as F


def straight_through(logit: Tensor, uniform: Tensor, temperature: float = 1.0) -> Tensor:
    """Draws of 0 or 1 with the gradient of the relaxed draw (Jang et al. 2017, straight-through).

    Args:
        logit: of the inclusion probability.
        uniform: in (0, 1), of the same shape or one that broadcasts.
        temperature: of the relaxation sigmoid((logit + logistic noise) / temperature).

    Returns:
        1 with probability sigmoid(logit), exactly, else 0.
    """
    relaxed = ((logit + torch.logit(uniform)) / temperature).sigmoid()
    hard = (relaxed > 0.5).to(relaxed.dtype)
    return hard + (relaxed - relaxed.detach())


def entropy(logit: Tensor) -> Tensor:
    """Entropy of Bernoulli(sigmoid(logit)), nats, elementwise; finite at any logit."""
    probability = logit.sigmoid()
    return F.softplus(logit) - probability * logit


def kl_divergence(logit: Tensor, prior: float | Tensor) -> Tensor:
    """KL(Bernoulli(sigmoid(logit)) || Bernoulli(prior)), nats, elementwise.

    Args:
        logit: of the posterior inclusion probability.
        prior: inclusion probability in (0, 1).
    """
    prior = torch.as_tensor(prior, dtype=logit.dtype, device=logit.device)
    q = logit.sigmoid()
    return -entropy(logit) - q * prior.log() - (1.0 - q) * torch.log1p(-prior)
