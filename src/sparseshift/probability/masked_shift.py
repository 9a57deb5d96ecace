"""A normal whose mean is a sum of masked effects: the mask averaged out, exactly.

A cell of a perturbation label a has z_j ~ N(sum_p D_ap m_pj e_pj, 1) with independent masks
m_pj ~ Bernoulli(q_pj). Two expectations over the masks have closed forms:

- of the squared distance, hence of the KL from q(z | x) (it is quadratic in the prior mean);
- of the density: for each latent a mixture over the subsets of the label's perturbations.

They are different: E[log p] (training) is not log E[p] (scoring).
"""

from collections.abc import Callable
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from sparseshift import compiled
from sparseshift.errors import OptionError
from sparseshift.probability import masked_shift_kernel as kernel

MAX_COMBINATION = 8  # 2**8 mixture components a latent; screens have two or three


def shift_moments(
    design: Tensor, inclusion: Tensor, effect: Tensor, effect_variance: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Mean and variance of each label's shift over the masks, and over uncertain effects.

    Args:
        design: (labels, perturbations), how often each perturbation is in the label.
        inclusion: (perturbations, latents), q in [0, 1].
        effect: (perturbations, latents), mean e.
        effect_variance: (perturbations, latents), s^2; None: the effects are known.

    Returns:
        D (q e) and D^2 (q (e^2 + s^2) - q^2 e^2), each (labels, latents).
    """
    expected = inclusion * effect
    spread = expected * (effect - expected)
    if effect_variance is not None:
        spread = spread + inclusion * effect_variance
    return design @ expected, design.square() @ spread


class SubsetMixture(NamedTuple):
    """For each label and latent a mixture of normals over which masks are on.

    Attributes:
        means: (labels, components, latents).
        log_weights: (labels, components, latents), -inf where a component cannot occur.
        variances: (labels, components, latents); None: all 1.
    """

    means: Tensor
    log_weights: Tensor
    variances: Tensor | None = None

    def log_density(self, z: Tensor, label: Tensor) -> Tensor:
        """Log density in nats of z, (particles, cells, latents), given label (cells,).

        Returns:
            (particles, cells): summed over latents.
        """
        return self.log_density_of(label)(z)

    def log_density_of(self, label: Tensor) -> Callable[[Tensor], Tensor]:
        """`log_density` of these labels as a function of z."""
        means, log_weights = self.means[label], self.log_weights[label]
        half_precision = torch.full_like(means, 0.5)
        if self.variances is not None:
            half_precision = 0.5 / self.variances[label]
            log_weights = log_weights - 0.5 * self.variances[label].log()
        parts = tuple(part.transpose(0, 1) for part in (means, log_weights, half_precision))
        dense = tuple(part.contiguous() for part in parts)
        constant = 0.5 * means.shape[-1] * _LOG_2PI

        def log_density(z: Tensor) -> Tensor:
            if compiled.usable(z, *dense) and not torch.is_grad_enabled():
                return kernel.log_densities(z, *dense) - constant
            components = [w - p * (z - m).square() for m, w, p in zip(*parts, strict=True)]
            mixture = components[0] if len(components) == 1 else _logsumexp(components)
            return mixture.sum(-1) - constant

        return log_density

    def sample(self, label: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draws z of shape (cells, latents) given label (cells,)."""
        return self._draw(label, generator, within=1.0)

    def sample_shift(self, label: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draws of the mean of z alone, (cells, latents): masks and uncertain effects."""
        return self._draw(label, generator, within=0.0)

    def _draw(self, label: Tensor, generator: torch.Generator | None, within: float) -> Tensor:
        means, weights = self.means[label], self.log_weights[label].exp()
        n_cells, n_components, n_latents = means.shape
        flat = weights.transpose(1, 2).reshape(-1, n_components)
        chosen = torch.multinomial(flat, 1, generator=generator).reshape(n_cells, 1, n_latents)
        noise = torch.randn(
            n_cells, n_latents, generator=generator, dtype=means.dtype, device=means.device
        )
        variance = means.new_full((), within)
        if self.variances is not None:
            beyond = self.variances[label].gather(1, chosen).squeeze(1) - 1.0
            variance = within + beyond.clamp(min=0.0)
        return means.gather(1, chosen).squeeze(1) + variance.sqrt() * noise


_LOG_2PI = 1.8378770664093453


def _logsumexp(terms: list[Tensor]) -> Tensor:
    total = terms[0]
    for term in terms[1:]:
        total = torch.logaddexp(total, term)
    return total


def members(design: Tensor) -> tuple[Tensor, Tensor]:
    """The perturbations of each label, those it has first.

    Returns:
        Dose and index of each, (labels, parts): as many parts as the largest label has; smaller
        labels are padded with parts of dose 0.

    Raises:
        OptionError: a label combines more than 8 perturbations.
    """
    order = int((design > 0).sum(1).max()) if design.numel() else 0
    if order > MAX_COMBINATION:
        raise OptionError(
            f"A label combines {order} perturbations; the mask can be summed out for at most "
            f"{MAX_COMBINATION}. Split the label or drop its cells."
        )
    dose, member = torch.sort(design, dim=1, descending=True, stable=True)
    return dose[:, :order], member[:, :order]


def subset_mixture(
    design: Tensor, inclusion: Tensor, effect: Tensor, effect_variance: Tensor | None = None
) -> SubsetMixture:
    """The mixture over the 2^k subsets of each label's k perturbations.

    Args:
        design: (labels, perturbations), non-negative.
        inclusion: (perturbations, latents).
        effect: (perturbations, latents), mean.
        effect_variance: (perturbations, latents); None: the effects are known.

    Raises:
        OptionError: a label combines more than 8 perturbations.
    """
    dose, member = members(design)
    on, shift = inclusion[member], dose.unsqueeze(-1) * effect[member]
    on = torch.where(dose.unsqueeze(-1) > 0, on, torch.zeros_like(on))
    spread = None if effect_variance is None else dose.unsqueeze(-1) ** 2 * effect_variance[member]
    means, log_weights, variances = [], [], []
    for subset in product((True, False), repeat=dose.shape[1]):
        chosen = torch.tensor(subset, dtype=torch.bool, device=design.device).reshape(1, -1, 1)
        means.append((shift * chosen).sum(1))
        log_weights.append(torch.where(chosen, on, 1.0 - on).log().sum(1))
        if spread is not None:
            variances.append(1.0 + (spread * chosen).sum(1))
    weights = torch.stack(log_weights, 1)
    possible = (weights > -torch.inf).flatten(2).any(-1).any(0)
    return SubsetMixture(
        torch.stack(means, 1)[:, possible],
        weights[:, possible],
        torch.stack(variances, 1)[:, possible] if variances else None,
    )
