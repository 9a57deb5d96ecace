from itertools import combinations

import numpy as np
import pytest

from sparseshift.errors import OptionError
from sparseshift.evaluation.shared_mechanism import (
    cosine_matrix,
    mean_pairwise_cosines,
    shared_mechanism,
)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Zero where a side is zero."""
    norm = np.sqrt((a**2).sum()) * np.sqrt((b**2).sum())
    return float((a * b).sum() / norm) if norm else 0.0


def by_brute_force(shifts: np.ndarray, size: int) -> dict[tuple[int, ...], float]:
    """Mean pairwise cosine of every set."""
    return {
        rows: float(np.mean([cosine(shifts[a], shifts[b]) for a, b in combinations(rows, 2)]))
        for rows in combinations(range(len(shifts)), size)
    }


def sparse_shifts() -> np.ndarray:
    """Eight perturbations, one of which does nothing and two of which do the same."""
    rng = np.random.default_rng(0)
    shifts = rng.normal(size=(8, 4)) * (rng.random((8, 4)) < 0.5)
    shifts[3] = 0.0
    shifts[5] = 2.0 * shifts[6]
    return shifts


def test_cosine_matrix_is_a_loop_and_zero_rows_have_none() -> None:
    shifts = sparse_shifts()
    cosines = cosine_matrix(shifts)
    expected = [[cosine(a, b) for b in shifts] for a in shifts]
    np.testing.assert_allclose(cosines, expected, atol=1e-12)
    assert not cosines[3].any()
    assert cosines[5, 6] == pytest.approx(1.0)
    integers = cosine_matrix(np.array([[1, 0], [1, 1]]))
    assert integers[0, 1] == pytest.approx(np.sqrt(0.5))


@pytest.mark.parametrize("size", [2, 3, 4, 8])
def test_mean_pairwise_cosines_are_brute_force(size: int) -> None:
    expected = by_brute_force(sparse_shifts(), size)
    sets, means = mean_pairwise_cosines(sparse_shifts(), size)
    assert [tuple(row) for row in sets.tolist()] == list(expected)
    np.testing.assert_allclose(means, list(expected.values()), atol=1e-12)


@pytest.mark.parametrize("members", [[6, 5], [0, 3], [7, 1, 4], [2, 0, 5, 6]])
def test_shared_mechanism_is_brute_force(members: list[int]) -> None:
    expected = by_brute_force(sparse_shifts(), len(members))
    own, share, every = shared_mechanism(sparse_shifts(), members)
    assert own == pytest.approx(expected[tuple(sorted(members))])
    at_least = [value >= own - 1e-9 for value in expected.values()]
    assert share == pytest.approx(np.mean(at_least))
    np.testing.assert_allclose(every, list(expected.values()), atol=1e-12)


def test_the_most_alike_set_is_one_of_all() -> None:
    own, share, every = shared_mechanism(sparse_shifts(), [5, 6])
    assert own == pytest.approx(1.0)
    assert share == pytest.approx(1 / 28)
    assert len(every) == 28


def test_without_any_shift_all_sets_tie() -> None:
    assert shared_mechanism(np.zeros((5, 2)), [0, 1, 2])[:2] == (0.0, 1.0)


def test_too_many_sets_are_refused() -> None:
    with pytest.raises(OptionError, match="200 perturbations have 64684950 sets of 4: too many"):
        mean_pairwise_cosines(np.zeros((200, 2)), 4)
