"""Which latents a perturbation may shift: masks over (perturbations, latents), and their cost."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Mask(nn.Module):
    """Abstract: independent Bernoulli masks with some inclusion probability each."""

    def inclusion_probability(self) -> Tensor:
        """q, (perturbations, latents), in [0, 1]."""
        raise NotImplementedError

    def penalty(self) -> Tensor:
        """What the mask costs, in nats for the whole screen, scalar."""
        raise NotImplementedError


class FixedMask(Mask):
    """Inclusion probabilities that are given: all ones for a dense table; costs nothing."""

    def __init__(self, inclusion: Tensor) -> None:
        super().__init__()
        self.register_buffer("inclusion", inclusion)

    def inclusion_probability(self) -> Tensor:
        """q, (perturbations, latents)."""
        return cast(Tensor, self.inclusion)

    def penalty(self) -> Tensor:
        """Zero."""
        return torch.zeros((), device=self.inclusion_probability().device)


class BetaMask(Mask):
    """Learnt inclusion probabilities q = sigmoid(logit) under a Beta(1, alpha) prior.

    The penalty is the negative log prior without its constant, -(alpha - 1) log(1 - q) =
    (alpha - 1) softplus(logit), summed over all entries (Lopez et al. 2023). Written so, its
    gradient stays finite where Beta.log_prob(sigmoid(logit)) gives NaN (logits from 17 up).

    Args:
        n_perturbations: rows.
        n_latents: columns.
        alpha: second parameter of the Beta prior; 1 costs nothing, larger is sparser.
        initial_logit: where all logits start.
    """

    def __init__(
        self, n_perturbations: int, n_latents: int, alpha: float, initial_logit: float
    ) -> None:
        super().__init__()
        self.alpha = alpha
        self.logit = nn.Parameter(torch.full((n_perturbations, n_latents), float(initial_logit)))

    def inclusion_probability(self) -> Tensor:
        """q, (perturbations, latents)."""
        return self.logit.sigmoid()

    def penalty(self) -> Tensor:
        """(alpha - 1) * sum of softplus(logit), nats."""
        return (self.alpha - 1.0) * F.softplus(self.logit).sum()
