"""p(z | perturbation): the latent prior is what tells most models of the family apart.

| model | prior | mask |
|---|---|---|
| VAE | N(0, I) | - |
| iVAE (Khemakhem et al. 2020) | N(D e, I) | all ones |
| sVAE (Lachapelle et al. 2022), sVAE+ (Lopez et al. 2023) | N(D (m * e), I) | m ~ Bernoulli(q) |
| SAMS-VAE (Bereket & Karaletsos 2023) | the same, e with a posterior | the same |
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from sparseshift import compiled
from sparseshift.data.cells import Cells
from sparseshift.models.effects import NormalEffect, PointEffect
from sparseshift.models.masks import FixedMask, Mask
from sparseshift.probability.masked_shift import (
    SubsetMixture,
    members,
    shift_moments,
    subset_mixture,
)
from sparseshift.probability.masked_shift_kl import masked_shift_kl

MASK_DRAWS = ("marginal", "per_batch", "per_cell")


class Shift(NamedTuple):
    """The mean of z of each cell: known up to a variance that is left to be averaged over.

    Attributes:
        mean: (..., cells, latents).
        variance: (cells, latents), over masks and effects; None: the shift is a draw.
    """

    mean: Tensor
    variance: Tensor | None

    def kl_divergence(self, mean: Tensor, std: Tensor) -> Tensor:
        """KL(N(mean, std^2) || N(shift, I)), averaged over the shift, in nats, (cells,).

        Exact for any distribution of the shift: the KL is quadratic in the prior's mean.
        """
        squared_distance = (mean - self.mean).square()
        if self.variance is not None:
            squared_distance = squared_distance + self.variance
        return (0.5 * (squared_distance + std.square() - 1.0) - std.log()).sum(-1)


class AveragedShift(NamedTuple):
    """A shift with its masks, and effects if uncertain, averaged over.

    Attributes:
        design: (labels, perturbations).
        label: row of design, (cells,).
        inclusion: q, (perturbations, latents).
        effect: e, or its mean, (perturbations, latents).
        effect_variance: (perturbations, latents); None: the effects are known.
    """

    design: Tensor
    label: Tensor
    inclusion: Tensor
    effect: Tensor
    effect_variance: Tensor | None = None

    @property
    def mean(self) -> Tensor:
        """Of each cell, (cells, latents)."""
        return self.moments().mean

    def moments(self) -> Shift:
        """Mean and variance of each cell."""
        of_labels = shift_moments(self.design, self.inclusion, self.effect, self.effect_variance)
        # index_select: the gradient of an index is several times slower
        return Shift(*(moment.index_select(0, self.label) for moment in of_labels))

    def kl_divergence(self, mean: Tensor, std: Tensor) -> Tensor:
        """As `Shift.kl_divergence`."""
        tables = self.design, self.inclusion, self.effect
        if self.effect_variance is None and compiled.usable(*tables, std):
            return masked_shift_kl(self.label, *tables, mean, std)
        return self.moments().kl_divergence(mean, std)


class ShiftNoise(NamedTuple):
    """What a draw of masks and effects needs; None where nothing is drawn.

    Attributes:
        mask: uniform, (perturbations, latents), or (cells, parts, latents) for masks per cell.
        effect: standard normal, (perturbations, latents).
    """

    mask: Tensor | None = None
    effect: Tensor | None = None


class LatentPrior(nn.Module):
    """Abstract: a distribution over z with unit variance and a mean that the label shifts.

    Everything is a function of the design of the cells, (labels, perturbations): the rows of D
    that they need, so that combinations never seen in training need no rows of their own.
    """

    def draw_noise(self, cells: Cells, generator: torch.Generator | None) -> ShiftNoise:
        """What `shift` needs in training."""
        del cells, generator
        return ShiftNoise()

    def shift(self, cells: Cells, noise: ShiftNoise) -> Shift | AveragedShift:
        """The shift of each cell, in training: a draw, or the average over draws."""
        raise NotImplementedError

    def expected_shift(self, design: Tensor) -> Tensor:
        """D (q e), (labels, latents)."""
        return shift_moments(design, self.inclusion_probability(), self.effect())[0]

    def density(self, design: Tensor, *, graph: str = "soft") -> SubsetMixture:
        """p(z | label) with masks and effects summed out, for every row of design.

        Args:
            design: (labels, perturbations).
            graph: "soft": each mask is on with its probability; "map": where that is above 1/2.
        """
        raise NotImplementedError

    def effect(self) -> Tensor:
        """e, (perturbations, latents)."""
        raise NotImplementedError

    def inclusion_probability(self) -> Tensor:
        """q, (perturbations, latents)."""
        raise NotImplementedError

    def cost(self, n_cells: int) -> Tensor:
        """What the prior's parameters cost, in nats for a screen of so many cells, scalar."""
        raise NotImplementedError

    def extended(self, rows: Tensor, inclusion: Tensor | None = None) -> "LatentPrior":
        """This prior with rows for further perturbations, nothing shared.

        Args:
            rows: their effects, (new perturbations, latents).
            inclusion: their q, (new perturbations, latents); None: 1.
        """
        raise NotImplementedError


class StandardNormalPrior(LatentPrior):
    """N(0, I) whatever the perturbation: every effect and every inclusion probability is 0."""

    def __init__(self, n_perturbations: int, n_latents: int) -> None:
        super().__init__()
        self.register_buffer("zeros", torch.zeros(n_perturbations, n_latents), persistent=False)

    def shift(self, cells: Cells, noise: ShiftNoise) -> Shift:
        """Zero."""
        del cells, noise
        return Shift(self.effect().new_zeros(()), None)

    def density(self, design: Tensor, *, graph: str = "soft") -> SubsetMixture:
        """N(0, I) for every row."""
        del graph
        return subset_mixture(design[:, :0], self.effect()[:0], self.effect()[:0])

    def effect(self) -> Tensor:
        """Zeros, (perturbations, latents)."""
        return self.get_buffer("zeros")

    def inclusion_probability(self) -> Tensor:
        """Zeros, (perturbations, latents)."""
        return self.get_buffer("zeros")

    def cost(self, n_cells: int) -> Tensor:
        """Zero."""
        del n_cells
        return self.effect().new_zeros(())

    def extended(self, rows: Tensor, inclusion: Tensor | None = None) -> "StandardNormalPrior":
        """More rows of zeros."""
        del inclusion
        n_rows, n_latents = self.effect().shape
        return StandardNormalPrior(n_rows + len(rows), n_latents).to(rows)


class ShiftPrior(LatentPrior):
    """N(D (m * e), I): effects behind masks.

    Args:
        effect: over (perturbations, latents).
        mask: over (perturbations, latents).
        draw: how training averages over masks and effects: "marginal", exactly (it needs an
            encoder that does not see them); "per_batch", one draw for all cells; "per_cell",
            masks drawn anew for each cell, as published.
    """

    def __init__(self, effect: PointEffect, mask: Mask, draw: str = "marginal") -> None:
        super().__init__()
        self.effects = effect
        self.mask = mask
        self.draw = draw

    def draw_noise(self, cells: Cells, generator: torch.Generator | None) -> ShiftNoise:
        """Uniforms for masks, normals for effects."""
        if self.draw == "marginal":
            return ShiftNoise()
        table = self.effects.mean()
        shape = tuple(table.shape)
        masks = shape
        if self.draw == "per_cell":
            masks = (cells.n_cells, members(cells.design)[0].shape[1], shape[1])
        dtype, device = table.dtype, table.device
        uniform = torch.rand(masks, generator=generator, dtype=dtype, device=device)
        normal = torch.randn(shape, generator=generator, dtype=dtype, device=device)
        return ShiftNoise(uniform, normal)

    def shift(self, cells: Cells, noise: ShiftNoise) -> Shift | AveragedShift:
        """The average or a draw, by `draw`."""
        if noise.mask is None or noise.effect is None:
            return AveragedShift(
                cells.design,
                cells.label,
                self.inclusion_probability(),
                self.effects.mean(),
                self.effects.variance(),
            )
        effect = self.effects.sample(noise.effect)
        if self.draw == "per_cell":
            dose, member = members(cells.design)
            rows = member[cells.label]
            parts = dose[cells.label].unsqueeze(-1) * effect[rows]
            return Shift((parts * self.mask.sample(noise.mask, rows)).sum(1), None)
        return Shift((cells.design @ (self.mask.sample(noise.mask) * effect))[cells.label], None)

    def density(self, design: Tensor, *, graph: str = "soft") -> SubsetMixture:
        """The mixture over masks, effects integrated out."""
        inclusion = self.inclusion_probability()
        if graph == "map":
            inclusion = (inclusion > 0.5).to(inclusion.dtype)
        return subset_mixture(design, inclusion, self.effects.mean(), self.effects.variance())

    def effect(self) -> Tensor:
        """e, or its posterior mean, (perturbations, latents)."""
        return self.effects.mean()

    def inclusion_probability(self) -> Tensor:
        """Q of the mask, (perturbations, latents)."""
        return self.mask.inclusion_probability()

    def cost(self, n_cells: int) -> Tensor:
        """Of masks and effects, nats."""
        return self.mask.cost(n_cells) + self.effects.cost()

    def extended(self, rows: Tensor, inclusion: Tensor | None = None) -> "ShiftPrior":
        """New rows with mask 1, or drawn with their q; the masks of all rows are fixed."""
        table = torch.cat([self.effects.mean().detach(), rows])
        new_inclusion = torch.ones_like(rows) if inclusion is None else inclusion.to(rows)
        mask = FixedMask(torch.cat([self.inclusion_probability().detach(), new_inclusion]))
        if isinstance(self.effects, NormalEffect):
            # as sure of new effects as of the known ones, in the median
            log_std = self.effects.log_std.detach()
            new = log_std.median(0).values.expand_as(rows) if len(log_std) else rows - 2.0
            effect: PointEffect = NormalEffect(
                table, torch.cat([log_std, new]), self.effects.scale
            )
        else:
            effect = PointEffect(table)
        return ShiftPrior(effect, mask, self.draw)
