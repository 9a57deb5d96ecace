"""How far two sets of cells are apart as distributions, not only in their means."""

import numpy as np

from sparseshift.errors import OptionError

_BLOCK = 1024


def energy_distance(first: np.ndarray, second: np.ndarray, *, unbiased: bool = True) -> float:
    """2 E|x - y| - E|x - x'| - E|y - y'|, with Euclidean distances, not squared, no root taken.

    Székely and Rizzo 2013. It is 0 only for equal distributions; rotations and translations do not change
    it. In one dimension the biased form is `scipy.stats.energy_distance(first, second) ** 2`.

    The E-distance of scPerturb (Peidli et al. 2024, Nature Methods) has squared Euclidean distances of
    principal components in this place, and so is 2 |mean x - mean y|² in expectation: it sees means alone.

    Args:
        first: cells, (cells, dimensions); any float or integer type, computed in float64.
        second: other cells, (other cells, dimensions).
        unbiased: U-statistic: means within a set leave out a cell's distance to itself, so that two samples
            of one distribution have 0 in expectation, and may be below. False: V-statistic, which is never
            negative and larger for fewer cells: compare it only at equal numbers of cells.

    Returns:
        In the units of the profiles; NaN with fewer than two cells (unbiased) or none in a set.

    Raises:
        OptionError: dimensions that differ, values that are not finite.
    """
    first, second = _cells(first, second)
    n, m = len(first), len(second)
    least = 2 if unbiased else 1
    if min(n, m) < least:
        return float("nan")
    one = 1 if unbiased else 0
    # distances come from inner products, which lose digits far from the origin
    centre = (first.sum(axis=0) + second.sum(axis=0)) / (n + m)
    first, second = first - centre, second - centre
    between = _sum_between(first, second) / (n * m)
    within = _sum_within(first) / (n * (n - one)) + _sum_within(second) / (m * (m - one))
    return float(2.0 * between - within)


def _sum_between(first: np.ndarray, second: np.ndarray) -> float:
    return sum(_distances(a, b).sum() for a in _blocks(first) for b in _blocks(second))


def _sum_within(cells: np.ndarray) -> float:
    blocks, total = _blocks(cells), 0.0
    for i, block in enumerate(blocks):
        own = _distances(block, block)
        np.fill_diagonal(own, 0.0)
        total += own.sum() + 2.0 * _sum_between(block, cells[(i + 1) * _BLOCK :])
    return total


def _blocks(cells: np.ndarray) -> list[np.ndarray]:
    return [cells[start : start + _BLOCK] for start in range(0, len(cells), _BLOCK)]


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    squared = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2.0 * (a @ b.T)
    return np.sqrt(squared.clip(min=0.0))


def _cells(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1]:
        raise OptionError(
            f"The cells have shapes {first.shape} and {second.shape}; expected (cells, dimensions) with "
            "the same dimensions."
        )
    for cells in (first, second):
        if bad := int((~np.isfinite(cells)).any(axis=1).sum()):
            raise OptionError(
                f"{bad} of {len(cells)} cells have values that are not finite. Leave them out."
            )
    return first, second
