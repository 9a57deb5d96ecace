"""Which latents a perturbation shifts, in closed form, from how far and with how many cells.

For one entry (p, j) with n cells whose posterior means average m, what depends on effect e and
inclusion probability q is, in nats,

    n/2 E_m[(m - mask e)^2] + cost(q) = n/2 [(m - q e)^2 + q (1 - q) e^2] + cost(q).

Its best e is m whatever q > 0 is, which leaves n m^2 (1 - q) / 2 + cost(q).
"""

import torch
from torch import Tensor


def beta_inclusion(effects: Tensor, cells: Tensor, alpha: float | Tensor) -> Tensor:
    """The best q under cost(q) = -(alpha - 1) log(1 - q): max(0, 1 - 2 (alpha - 1) / (n m^2)).

    The cost is the negative log density of Beta(1, alpha) (Lopez et al. 2023), as in `mask_priors.BetaMap`.
    1/2 is passed at n m^2 = 4 (alpha - 1).

    Args:
        effects: m, (perturbations, latents).
        cells: n of each perturbation, (perturbations,).
        alpha: at least 1, or one of each perturbation, (perturbations, 1); at 1 an edge is free and q
            is 1 wherever n m^2 > 0.

    Returns:
        (perturbations, latents), in [0, 1].
    """
    evidence = cells.unsqueeze(1) * effects.square()
    price = 2.0 * (alpha - 1.0)
    # where nothing pays q = 0; the clamp keeps 0/0 out
    return torch.where(evidence > price, 1.0 - price / evidence.clamp(min=1e-300), 0.0)


def bernoulli_inclusion(effects: Tensor, cells: Tensor, probability: float | Tensor) -> Tensor:
    """The best q under cost(q) = KL(Bernoulli(q) || Bernoulli(p0)): sigmoid(logit p0 + n m^2 / 2).

    Here q is a posterior, for an effect that is known. The best effect is fitted to the same
    cells: without any shift n m^2 has mean 1, so that p0 is exceeded by noise alone.

    Args:
        effects: m, (perturbations, latents).
        cells: n of each perturbation, (perturbations,).
        probability: p0, in (0, 1), or one of each latent, (latents,).

    Returns:
        (perturbations, latents), in [0, 1].
    """
    evidence = cells.unsqueeze(1) * effects.square()
    logit = torch.as_tensor(probability, dtype=effects.dtype).logit()
    return (logit.to(effects) + 0.5 * evidence).sigmoid()


def budget_inclusion(effects: Tensor, cells: Tensor, price: float) -> Tensor:
    """The best q under cost(q) = price * q: 1 where n m^2 > 2 price, else 0.

    Args:
        effects: m, (perturbations, latents).
        cells: n of each perturbation, (perturbations,).
        price: of an edge, nats.

    Returns:
        (perturbations, latents), 0 or 1.
    """
    return (cells.unsqueeze(1) * effects.square() > 2.0 * price).to(effects)
