"""The simple predictors of mean expression that every model must beat.

All work on mean normalised profiles: `control` (genes,), `effects` (perturbations, genes) with
effect = mean of the perturbation's cells - mean of the control cells.
"""

from collections.abc import Mapping, Sequence

import numpy as np


def no_change(n_genes: int) -> np.ndarray:
    """The control mean, that is no effect, (genes,) of zeros (Ahlmann-Eltze et al. 2025)."""
    return np.zeros(n_genes)


def mean_effect(effects: Mapping[str, np.ndarray]) -> np.ndarray:
    """The average effect over training perturbations, (genes,): the same for every perturbation."""
    return np.mean(list(effects.values()), axis=0)


def additive_effect(parts: Sequence[str], effects: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """The sum of the parts' effects, (genes,); None where a part was not seen alone."""
    if len(parts) < 2 or not all(part in effects for part in parts):
        return None
    return np.sum([effects[part] for part in parts], axis=0)


def matching_effect(
    parts: Sequence[str], effects: Mapping[str, np.ndarray], fallback: np.ndarray
) -> np.ndarray:
    """The mean of the parts' effects, the mean effect for parts not seen alone, (genes,).

    The matching mean of Viñas Torné et al. (2025, Systema), of effects instead of profiles.
    """
    return np.mean([effects.get(part, fallback) for part in parts], axis=0)


def shrunk_effect(
    support: np.ndarray, fallback: np.ndarray, between: float, within: float
) -> np.ndarray:
    """The support cells' effect, shrunk by empirical Bayes: to the mean effect, or to none.

    Args:
        support: effect seen in n support cells, (genes,).
        fallback: the mean effect over training perturbations, or zeros, (genes,).
        between: variance of true effects around it, averaged over genes.
        within: sampling variance of `support`, averaged over genes.

    Returns:
        (genes,): fallback + between / (between + within) * (support - fallback).
    """
    total = between + within
    weight = between / total if total > 0 else 0.0
    return fallback + weight * (support - fallback)
