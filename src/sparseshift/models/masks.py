"""Which latents a perturbation may shift: masks over (perturbations, latents)."""

from typing import cast

import torch
from torch import Tensor, nn

from sparseshift.models.mask_priors import MaskPrior, NoPrior
from sparseshift.probability.bernoulli import straight_through


class Mask(nn.Module):
    """Abstract: independent Bernoulli masks with some inclusion probability each."""

    def inclusion_probability(self) -> Tensor:
        """q, (perturbations, latents), in [0, 1]."""
        raise NotImplementedError

    def sample(self, uniform: Tensor, rows: Tensor | None = None) -> Tensor:
        """Masks of 0 and 1, shaped as `uniform`, with a gradient where q has one.

        Args:
            uniform: in (0, 1), (..., perturbations or rows, latents).
            rows: perturbation of each row of `uniform`, (...,); None: all, in order.
        """
        raise NotImplementedError

    def cost(self, n_cells: int) -> Tensor:
        """What the mask costs, in nats for a screen of so many cells, scalar."""
        raise NotImplementedError


class FixedMask(Mask):
    """Inclusion probabilities that are given: all ones for a dense table; costs nothing."""

    def __init__(self, inclusion: Tensor) -> None:
        super().__init__()
        self.register_buffer("inclusion", inclusion)

    def inclusion_probability(self) -> Tensor:
        """q, (perturbations, latents)."""
        return cast(Tensor, self.inclusion)

    def sample(self, uniform: Tensor, rows: Tensor | None = None) -> Tensor:
        """1 where uniform < q."""
        inclusion = self.inclusion_probability()
        chosen = inclusion if rows is None else inclusion[rows]
        return (uniform < chosen).to(uniform.dtype)

    def cost(self, n_cells: int) -> Tensor:
        """Zero."""
        del n_cells
        return self.inclusion_probability().new_zeros(())


class BernoulliMask(Mask):
    """Learnt inclusion probabilities q = sigmoid(logit).

    Args:
        logit: starting values, (perturbations, latents).
        prior: what q costs.
        temperature: of the straight-through draw.
    """

    def __init__(self, logit: Tensor, prior: MaskPrior, temperature: float = 1.0) -> None:
        super().__init__()
        self.logit = nn.Parameter(logit)
        self.prior = prior
        self.temperature = temperature

    def inclusion_probability(self) -> Tensor:
        """q, (perturbations, latents)."""
        return self.logit.sigmoid()

    def sample(self, uniform: Tensor, rows: Tensor | None = None) -> Tensor:
        """Straight-through draws."""
        logit = self.logit if rows is None else self.logit[rows]
        return straight_through(logit, uniform, self.temperature)

    @torch.no_grad()
    def freeze(self) -> None:
        """Fixes the graph at q > 1/2: it no longer costs anything, and training leaves it alone."""
        self.logit.copy_(torch.where(self.logit > 0.0, 30.0, -30.0))
        self.logit.requires_grad_(False)
        self.prior = NoPrior()

    def cost(self, n_cells: int) -> Tensor:
        """That of the prior, nats."""
        return self.prior.cost(self.logit, n_cells)
