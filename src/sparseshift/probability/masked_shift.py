"""A normal whose mean is a sum of masked effects: the mask averaged out, exactly.

A cell of a perturbation label a has z_j ~ N(sum_p D_ap m_pj e_pj, 1) with independent masks
m_pj ~ Bernoulli(q_pj). Two expectations over the masks have closed forms:

- of the squared distance, hence of the KL from q(z | x) (it is quadratic in the prior mean);
- of the density: for each latent a mixture over the subsets of the label's perturbations.

They are different: E[log p] (training) is not log E[p] (scoring).
"""

from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from sparseshift.errors import OptionError

MAX_COMBINATION = 8  # 2**8 mixture components a latent; screens have two or three


def shift_moments(design: Tensor, inclusion: Tensor, effect: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of each label's shift over the masks.

    Args:
        design: (labels, perturbations), how often each perturbation is in the label.
        inclusion: (perturbations, latents), q in [0, 1].
        effect: (perturbations, latents).

    Returns:
        D (q e) and D^2 (e^2 q (1 - q)), each (labels, latents).
    """
    mean = design @ (inclusion * effect)
    variance = design.square() @ (effect.square() * inclusion * (1.0 - inclusion))
    return mean, variance


class SubsetMixture(NamedTuple):
    """For each label and latent a mixture of unit normals over which masks are on.

    Attributes:
        means: (labels, components, latents).
        log_weights: (labels, components, latents), -inf where a component cannot occur.
    """

    means: Tensor
    log_weights: Tensor

    def log_density(self, z: Tensor, label: Tensor) -> Tensor:
        """Log density in nats of z, (particles, cells, latents), given label (cells,).

        Returns:
            (particles, cells): summed over latents.
        """
        means, log_weights = self.means[label], self.log_weights[label]
        components = [
            log_weights[:, c] - 0.5 * (z - means[:, c]).square() for c in range(means.shape[1])
        ]
        mixture = components[0] if len(components) == 1 else _logsumexp(components)
        return mixture.sum(-1) - 0.5 * z.shape[-1] * _LOG_2PI

    def sample(self, label: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draws z of shape (cells, latents) given label (cells,)."""
        means, weights = self.means[label], self.log_weights[label].exp()
        n_cells, n_components, n_latents = means.shape
        flat = weights.transpose(1, 2).reshape(-1, n_components)
        chosen = torch.multinomial(flat, 1, generator=generator).reshape(n_cells, 1, n_latents)
        noise = torch.randn(
            n_cells, n_latents, generator=generator, dtype=means.dtype, device=means.device
        )
        return means.gather(1, chosen).squeeze(1) + noise


_LOG_2PI = 1.8378770664093453


def _logsumexp(terms: list[Tensor]) -> Tensor:
    total = terms[0]
    for term in terms[1:]:
        total = torch.logaddexp(total, term)
    return total


def subset_mixture(design: Tensor, inclusion: Tensor, effect: Tensor) -> SubsetMixture:
    """The mixture over the 2^k subsets of each label's k perturbations.

    Args:
        design: (labels, perturbations), non-negative.
        inclusion: (perturbations, latents).
        effect: (perturbations, latents).

    Raises:
        OptionError: a label combines more than 8 perturbations.
    """
    order = int((design > 0).sum(1).max()) if design.numel() else 0
    if order > MAX_COMBINATION:
        raise OptionError(
            f"A label combines {order} perturbations; the mask can be summed out for at most "
            f"{MAX_COMBINATION}. Split the label or drop its cells."
        )
    # the label's perturbations first; labels with fewer than `order` are padded with dose 0
    dose, member = torch.sort(design, dim=1, descending=True, stable=True)
    dose, member = dose[:, :order], member[:, :order]
    on, shift = inclusion[member], dose.unsqueeze(-1) * effect[member]
    on = torch.where(dose.unsqueeze(-1) > 0, on, torch.zeros_like(on))
    means, log_weights = [], []
    for subset in product((True, False), repeat=order):
        chosen = torch.tensor(subset, dtype=torch.bool, device=design.device).reshape(1, -1, 1)
        means.append((shift * chosen).sum(1))
        log_weights.append(torch.where(chosen, on, 1.0 - on).log().sum(1))
    mixture = SubsetMixture(torch.stack(means, 1), torch.stack(log_weights, 1))
    possible = (mixture.log_weights > -torch.inf).flatten(2).any(-1).any(0)
    return SubsetMixture(mixture.means[:, possible], mixture.log_weights[:, possible])
