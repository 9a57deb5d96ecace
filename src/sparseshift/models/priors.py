"""p(z | perturbation): the latent prior is what tells the models of the family apart.

| model | prior | mask |
|---|---|---|
| VAE | N(0, I) | - |
| iVAE (Khemakhem et al. 2020) | N(D e, I) | all ones |
| sVAE+ (Lopez et al. 2023) | N(D (m * e), I) | m ~ Bernoulli(q), q under Beta(1, alpha) |
"""

import torch
from torch import Tensor, nn

from sparseshift.models.masks import Mask
from sparseshift.probability.masked_shift import SubsetMixture, shift_moments, subset_mixture


class LatentPrior(nn.Module):
    """Abstract: a distribution over z with unit variance and a mean that the label shifts.

    Everything is a function of `design`, (labels, perturbations): the rows of D that a set of
    cells needs, so that combinations never seen in training need no rows of their own.
    """

    def kl_divergence(self, mean: Tensor, std: Tensor, label: Tensor, design: Tensor) -> Tensor:
        """KL(q(z | x) || p(z | label)), averaged over masks, in nats, (cells,).

        Args:
            mean: of q, (cells, latents).
            std: of q, (cells, latents).
            label: row of design, (cells,).
            design: (labels, perturbations).
        """
        shift, variance = shift_moments(design, self.inclusion_probability(), self.effect())
        squared_distance = (mean - shift[label]).square() + variance[label]
        return 0.5 * (squared_distance + std.square() - 1.0 - 2.0 * std.log()).sum(-1)

    def density(self, design: Tensor) -> SubsetMixture:
        """p(z | label) with the masks summed out, for every row of design."""
        return subset_mixture(design, self.inclusion_probability(), self.effect())

    def effect(self) -> Tensor:
        """e, (perturbations, latents)."""
        raise NotImplementedError

    def inclusion_probability(self) -> Tensor:
        """q, (perturbations, latents)."""
        raise NotImplementedError

    def penalty(self) -> Tensor:
        """What the prior's parameters cost, in nats for the whole screen, scalar."""
        raise NotImplementedError


class StandardNormalPrior(LatentPrior):
    """N(0, I) whatever the perturbation: every effect and every inclusion probability is 0."""

    def __init__(self, n_perturbations: int, n_latents: int) -> None:
        super().__init__()
        self.register_buffer("zeros", torch.zeros(n_perturbations, n_latents), persistent=False)

    def kl_divergence(self, mean: Tensor, std: Tensor, label: Tensor, design: Tensor) -> Tensor:
        """KL to the standard normal, in nats, (cells,)."""
        del label, design
        return 0.5 * (mean.square() + std.square() - 1.0 - 2.0 * std.log()).sum(-1)

    def effect(self) -> Tensor:
        """Zeros, (perturbations, latents)."""
        return self.get_buffer("zeros")

    def inclusion_probability(self) -> Tensor:
        """Zeros, (perturbations, latents)."""
        return self.get_buffer("zeros")

    def penalty(self) -> Tensor:
        """Zero."""
        return self.get_buffer("zeros").new_zeros(())


class ShiftPrior(LatentPrior):
    """N(D (m * e), I): effects e as point estimates, behind a mask m.

    Args:
        effect: starting values, (perturbations, latents).
        mask: over (perturbations, latents).
    """

    def __init__(self, effect: Tensor, mask: Mask) -> None:
        super().__init__()
        self.effect_table = nn.Parameter(effect)
        self.mask = mask

    def effect(self) -> Tensor:
        """e, (perturbations, latents)."""
        return self.effect_table

    def inclusion_probability(self) -> Tensor:
        """Q of the mask, (perturbations, latents)."""
        return self.mask.inclusion_probability()

    def penalty(self) -> Tensor:
        """That of the mask, nats."""
        return self.mask.penalty()
