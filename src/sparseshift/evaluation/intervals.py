"""Bootstrap intervals of means over perturbations and over cells."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import t


class Interval(NamedTuple):
    """An estimate and its 95 % percentile interval; NaN bounds where there is nothing to resample.

    Attributes:
        value: the estimate on all data.
        lower: 2.5 % quantile of the resampled estimates.
        upper: 97.5 % quantile.
    """

    value: float
    lower: float
    upper: float


def macro_mean(groups: Sequence[np.ndarray]) -> float:
    """Mean over groups of the groups' means: every perturbation counts the same."""
    return float(np.mean([group.mean() for group in groups]))


def micro_mean(groups: Sequence[np.ndarray]) -> float:
    """Mean over all members: every cell counts the same."""
    return float(np.concatenate(groups).mean())


def hierarchical_bootstrap(
    groups: Mapping[str, np.ndarray],
    statistic: Callable[[Sequence[np.ndarray]], float],
    *,
    n_resamples: int,
    seed: int,
) -> Interval:
    """Interval of a statistic of grouped values: resamples groups, and members within each.

    Groups are resampled in name order from `seed` alone, so that models scored on the same cells
    are resampled alike.

    Args:
        groups: values of each perturbation's cells, each (cells,).
        statistic: of a list of such arrays.
        n_resamples: draws.
        seed: of the draws.
    """
    values = [groups[name] for name in sorted(groups)]
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(n_resamples):
        chosen = [values[i] for i in rng.integers(len(values), size=len(values))]
        draws.append(statistic([v[rng.integers(len(v), size=len(v))] for v in chosen]))
    return _interval(statistic(values), draws)


def bootstrap_mean(values: np.ndarray, *, n_resamples: int, seed: int) -> Interval:
    """Interval of the mean of one value a perturbation, (perturbations,); NaN values are left out."""
    values = values[np.isfinite(values)]
    if values.size == 0:
        return Interval(np.nan, np.nan, np.nan)
    index = np.random.default_rng(seed).integers(values.size, size=(n_resamples, values.size))
    return _interval(float(values.mean()), values[index].mean(1).tolist())


def student_interval(values: np.ndarray) -> Interval:
    """Mean of independent draws, such as data seeds, with Student's 95 % interval; NaN ends for one.

    Args:
        values: (draws,); NaN values are left out.
    """
    values = values[np.isfinite(values)]
    if values.size == 0:
        return Interval(np.nan, np.nan, np.nan)
    mean = float(values.mean())
    if values.size == 1:
        return Interval(mean, np.nan, np.nan)
    half = float(t.ppf(0.975, values.size - 1) * values.std(ddof=1) / np.sqrt(values.size))
    return Interval(mean, mean - half, mean + half)


def _interval(value: float, draws: list[float]) -> Interval:
    if len(draws) < 2:
        return Interval(value, np.nan, np.nan)
    lower, upper = np.quantile(draws, [0.025, 0.975])
    return Interval(value, float(lower), float(upper))
