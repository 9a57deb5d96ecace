"""Contrasts of the mean latents of groups of cells, with intervals that let every group have its own variance."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import t


class Groups(NamedTuple):
    """The cells of each label; row -1 is a group without cells, for labels that there are not.

    Attributes:
        names: labels, sorted.
        size: cells, (labels + 1,).
        mean: of the latents, (labels + 1, latents); NaN without cells.
        variance: the same shape; NaN for fewer than two cells, or where a latent does not vary at all.
        pooled_sd: within labels, (latents,).
    """

    names: list[str]
    size: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    pooled_sd: np.ndarray

    def rows(self, labels: Sequence[str | None]) -> list[int]:
        """The row of each label, -1 where there is none."""
        place: dict[str | None, int] = {name: i for i, name in enumerate(self.names)}
        return [place.get(label, -1) for label in labels]


class Contrast(NamedTuple):
    """A weighted sum of means, for many sets of groups; NaN where it is not known.

    Attributes:
        value: (sets, latents).
        standard_error: the same shape.
        freedom: degrees of freedom of its t distribution, the same shape.
        half_width: of its interval, the same shape.
    """

    value: np.ndarray
    standard_error: np.ndarray
    freedom: np.ndarray
    half_width: np.ndarray

    def is_beyond(self, margin: np.ndarray) -> np.ndarray:
        """Whether the whole interval lies beyond ± margin, which may be one for each latent."""
        return np.asarray(np.abs(self.value) - self.half_width > margin)

    def is_within(self, margin: np.ndarray) -> np.ndarray:
        """Whether the whole interval lies within ± margin."""
        return np.asarray(np.abs(self.value) + self.half_width <= margin)

    def p_value(self, margin: np.ndarray) -> np.ndarray:
        """Chance of a value as large or larger if the truth is ± margin, two-sided."""
        sizes = np.abs(self.value) + np.stack([-margin, margin])[:, None]
        return np.asarray(t.sf(sizes / self.standard_error, self.freedom).sum(axis=0))


def groups_of(latents: np.ndarray, labels: np.ndarray) -> Groups:
    """Size, means and variances of the cells of each label.

    Args:
        latents: (cells, latents), float64.
        labels: (cells,).
    """
    names, code = np.unique(labels, return_inverse=True)
    size = np.bincount(code, minlength=len(names) + 1)
    n = size[:, None]
    mean = _sums(latents, code, len(size)) / np.where(n > 0, n, np.nan)
    squares = _sums((latents - mean[code]) ** 2, code, len(size))
    pooled = np.sqrt(squares.sum(axis=0) / max(int((size - 1).clip(min=0).sum()), 1))
    # what is left of a constant is rounding, not variation
    squares[:, pooled <= 1e-12 * np.abs(latents).max(axis=0)] = np.nan
    return Groups(names.tolist(), size, mean, squares / np.where(n > 1, n - 1, np.nan), pooled)


def contrast(groups: Groups, rows: np.ndarray, weights: Sequence[int], level: float) -> Contrast:
    """Sum of weight times mean, for each row of group numbers.

    The groups are independent, with variances of their own (Welch 1947): variance sum_g w_g² s_g² / n_g,
    degrees of freedom of Satterthwaite (1946).

    Args:
        groups: of the cells.
        rows: which groups, (sets, weights).
        weights: of their means; groups of weight 0 need not have cells.
        level: of the interval value ± half_width.
    """
    used = np.flatnonzero(weights)
    w = np.array(weights, dtype=np.float64)[used, None]
    mean, size = groups.mean[rows[:, used]], groups.size[rows[:, used]][:, :, None]
    pieces = w**2 * groups.variance[rows[:, used]] / size.clip(min=1)
    value, total = (w * mean).sum(axis=1), pieces.sum(axis=1)
    # NaN, not a division by zero, where no cell of any group differs from another
    total = np.where(total > 0, total, np.nan)
    freedom = total**2 / (pieces**2 / (size - 1).clip(min=1)).sum(axis=1)
    error = np.sqrt(total)
    return Contrast(value, error, freedom, t.ppf(0.5 + level / 2, freedom) * error)


def _sums(values: np.ndarray, code: np.ndarray, n_groups: int) -> np.ndarray:
    return np.stack([np.bincount(code, column, n_groups) for column in values.T], axis=1)
