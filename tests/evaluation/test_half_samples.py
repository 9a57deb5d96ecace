"""Halves of the cells: complementary, balanced in every label, drawn by the seed alone."""

import numpy as np
import pytest

from sparseshift.errors import OptionError
from sparseshift.evaluation.half_samples import half_samples

LABELS = np.repeat(["A", "B", "A+B", "rare", "alone"], [50, 31, 20, 2, 1])


@pytest.mark.parametrize("seed", range(5))
def test_halves_share_no_cell_and_together_have_all(seed: int) -> None:
    for first, second in half_samples(LABELS, 4, seed):
        np.testing.assert_array_equal(np.sort(np.concatenate([first, second])), range(104))
        assert (np.diff(first) > 0).all()
        assert abs(len(first) - len(second)) <= 1


@pytest.mark.parametrize("seed", range(5))
def test_every_label_is_halved(seed: int) -> None:
    for first, second in half_samples(LABELS[::-1], 4, seed):
        for label in ("A", "B", "A+B", "rare", "alone"):
            n_first, n_second = ((LABELS[::-1][rows] == label).sum() for rows in (first, second))
            assert abs(n_first - n_second) <= 1
            assert label == "alone" or min(n_first, n_second) >= 1


def test_every_cell_is_as_often_in_either_half() -> None:
    pairs = half_samples(LABELS, 2000, 0)
    share = np.mean([np.isin(np.arange(104), first) for first, _ in pairs], axis=0)
    # 104 shares of 2,000 draws, five standard errors
    assert np.abs(share - 0.5).max() < 5 * 0.5 / np.sqrt(2000)


def test_cells_of_a_label_are_halved_independently() -> None:
    first_of = np.array(
        [np.isin([0, 1], first).sum() for first, _ in half_samples(["A"] * 20, 2000, 1)]
    )
    # two given cells of twenty are together in a half with chance 9 / 19
    assert np.mean(first_of != 1) == pytest.approx(9 / 19, abs=0.05)


def test_the_seed_decides() -> None:
    one, same, other = (half_samples(LABELS, 3, seed) for seed in (7, 7, 8))
    for (a, b), (c, d), (e, _) in zip(one, same, other, strict=True):
        np.testing.assert_array_equal(a, c)
        np.testing.assert_array_equal(b, d)
        assert set(a.tolist()) != set(e.tolist())
    assert len({tuple(first) for first, _ in one}) == 3


def test_what_cannot_be_halved_is_refused() -> None:
    with pytest.raises(OptionError, match="n=0 must be at least 1"):
        half_samples(LABELS, 0, 0)
    with pytest.raises(OptionError, match="1 cells cannot be halved"):
        half_samples(["A"], 1, 0)
