"""Do some perturbations shift the same latents? One set against all sets of the same size."""

from itertools import combinations
from math import comb

import numpy as np

from sparseshift.errors import OptionError

_MAX_SETS = 2_000_000


def cosine_matrix(shifts: np.ndarray) -> np.ndarray:
    """Cosines between rows of (perturbations, dimensions); a zero row has cosine 0 with all."""
    norm = np.linalg.norm(shifts, axis=1, keepdims=True)
    unit = np.divide(shifts, norm, out=np.zeros_like(shifts, dtype=float), where=norm > 0)
    return unit @ unit.T


def mean_pairwise_cosines(shifts: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean pairwise cosine of every set of `size` rows.

    Args:
        shifts: inclusion probability times effect, (perturbations, latents).
        size: rows in a set, at least 2.

    Returns:
        Sets as row numbers, (sets, size), in lexicographic order, and their mean cosines, (sets,).

    Raises:
        OptionError: there are more than two million sets.
    """
    n_sets = comb(len(shifts), size)
    if n_sets > _MAX_SETS:
        raise OptionError(
            f"{len(shifts)} perturbations have {n_sets} sets of {size}: too many to compare with."
        )
    cosines = cosine_matrix(shifts)
    sets = np.array(list(combinations(range(len(shifts)), size)))
    total = np.zeros(len(sets))
    for a, b in combinations(range(size), 2):
        total += cosines[sets[:, a], sets[:, b]]
    return sets, total / comb(size, 2)


def shared_mechanism(shifts: np.ndarray, members: list[int]) -> tuple[float, float, np.ndarray]:
    """How alike the shifts of some perturbations are, against all sets of as many.

    Returns:
        Their mean pairwise cosine; the share of all sets (their own included) whose mean cosine is
        at least as large; the mean cosines of all sets, (sets,).

    Raises:
        OptionError: fewer than two members, a repeated one, or too many sets.
    """
    if len(set(members)) != len(members) or len(members) < 2:
        raise OptionError("shared_mechanism needs two or more different perturbations.")
    sets, cosines = mean_pairwise_cosines(shifts, len(members))
    own = cosines[(sets == np.sort(members)).all(axis=1)][0]
    # sets with the same rows up to rounding are ties
    return float(own), float((cosines >= own - 1e-9).mean()), cosines
