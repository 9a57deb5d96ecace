"""Bootstrap intervals of means over perturbations and over cells."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import norm, t

# perturbations: of two, resamples have three values, and ends that hold 95 % lie nine times as far out
FEWEST = 3


class Interval(NamedTuple):
    """An estimate and its 95 % interval; NaN bounds where there is nothing to resample, or too little.

    Attributes:
        value: the estimate on all data.
        lower: 2.5 % quantile of the resampled estimates, `stretched`.
        upper: 97.5 % quantile, `stretched`.
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
    return stretched(statistic(values), draws, len(values))


def bootstrap_mean(values: np.ndarray, *, n_resamples: int, seed: int) -> Interval:
    """Interval of the mean of one value a perturbation, (perturbations,); NaN values are left out."""
    values = values[np.isfinite(values)]
    if values.size == 0:
        return Interval(np.nan, np.nan, np.nan)
    index = np.random.default_rng(seed).integers(values.size, size=(n_resamples, values.size))
    return stretched(float(values.mean()), values[index].mean(1), values.size)


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


def stretched(value: float, draws: np.ndarray | Sequence[float], n_units: int) -> Interval:
    """Percentile interval of resampled estimates, stretched about the estimate where units are few.

    Resamples of n units have (n - 1) / n of the variance of their mean, and percentiles trust it as if it
    were known: 5 perturbations without any difference were told apart 15 times in 100. Both ends go away from
    the estimate by sqrt(n / (n - 1)) t / z, quantiles at 97.5 % of Student's t with n - 1 degrees of freedom and of
    the normal: 1.58 for 5 units, 1.07 for 25. The "narrowness bias" of Hesterberg (2015, The American
    Statistician 69, 371), who moves the percentiles instead; theirs cannot leave the range of the values, which
    is too short for few of them.

    Args:
        value: the estimate.
        draws: the same of resamples; NaN values are left out.
        n_units: perturbations that were resampled; fewer than `FEWEST` have no interval.
    """
    known = np.asarray(draws, dtype=np.float64)
    known = known[np.isfinite(known)]
    if known.size < 2 or n_units < FEWEST:
        return Interval(value, np.nan, np.nan)
    factor = np.sqrt(n_units / (n_units - 1)) * t.ppf(0.975, n_units - 1) / norm.ppf(0.975)
    ends = value + factor * (np.quantile(known, [0.025, 0.975]) - value)
    return Interval(value, *map(float, ends))
