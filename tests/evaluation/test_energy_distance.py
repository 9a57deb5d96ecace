import math
from itertools import product

import numpy as np
import pytest
from scipy import stats

from sparseshift.errors import OptionError
from sparseshift.evaluation import energy_distance as module
from sparseshift.evaluation.energy_distance import energy_distance

RNG = np.random.default_rng(0)
FIRST, SECOND = RNG.normal(size=(9, 4)), RNG.normal(0.5, 2.0, size=(6, 4))


def by_hand(x: np.ndarray, y: np.ndarray, *, unbiased: bool) -> float:
    def mean(a: np.ndarray, b: np.ndarray, pairs: int) -> float:
        return sum(math.dist(p, q) for p, q in product(a.tolist(), b.tolist())) / pairs

    one = 1 if unbiased else 0
    n, m = len(x), len(y)
    return 2 * mean(x, y, n * m) - mean(x, x, n * (n - one)) - mean(y, y, m * (m - one))


@pytest.mark.parametrize("unbiased", [True, False])
@pytest.mark.parametrize("block", [1, 4, 1024])
def test_it_is_a_loop_for_any_block(
    monkeypatch: pytest.MonkeyPatch, block: int, unbiased: bool
) -> None:
    monkeypatch.setattr(module, "_BLOCK", block)
    found = energy_distance(FIRST, SECOND, unbiased=unbiased)
    assert found == pytest.approx(by_hand(FIRST, SECOND, unbiased=unbiased), rel=1e-12)
    assert energy_distance(SECOND, FIRST, unbiased=unbiased) == pytest.approx(found, rel=1e-12)


def test_in_one_dimension_it_is_scipys_squared() -> None:
    x, y = RNG.normal(size=300), RNG.gamma(2.0, size=200)
    biased = energy_distance(x[:, None], y[:, None], unbiased=False)
    assert biased == pytest.approx(stats.energy_distance(x, y) ** 2, rel=1e-9)
    spread = [np.abs(z[:, None] - z).mean() / (len(z) - 1) for z in (x, y)]
    assert energy_distance(x[:, None], y[:, None]) == pytest.approx(biased - sum(spread), rel=1e-9)


def test_points_have_a_closed_form() -> None:
    apart = np.array([[3.0, 4.0]])
    assert energy_distance(np.zeros((5, 2)), np.repeat(apart, 3, axis=0)) == pytest.approx(10.0)
    assert energy_distance(FIRST, FIRST, unbiased=False) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("unbiased", [True, False])
def test_rotations_translations_and_order_do_not_matter_and_scale_is_a_factor(
    unbiased: bool,
) -> None:
    value = energy_distance(FIRST, SECOND, unbiased=unbiased)
    rotation = np.linalg.qr(RNG.normal(size=(4, 4)))[0]
    # far from the origin inner products would lose all digits
    for shift in (0.0, 1e6):
        moved = [cells @ rotation + shift for cells in (FIRST[::-1], SECOND)]
        assert energy_distance(*moved, unbiased=unbiased) == pytest.approx(value, rel=1e-6)
    scaled = energy_distance(3.0 * FIRST, 3.0 * SECOND, unbiased=unbiased)
    assert scaled == pytest.approx(3.0 * value)


def test_the_unbiased_form_has_mean_zero_for_equal_distributions() -> None:
    rng = np.random.default_rng(1)
    draws = [rng.gamma(1.0, size=(2, 12, 3)) for _ in range(1500)]
    unbiased = np.array([energy_distance(*pair) for pair in draws])
    assert abs(unbiased.mean()) < 3 * unbiased.std() / np.sqrt(len(draws))
    assert unbiased.min() < 0.0
    biased = np.array([energy_distance(*pair, unbiased=False) for pair in draws[:200]])
    assert biased.min() > 0.0


def test_it_sees_spread_where_means_are_equal() -> None:
    rng = np.random.default_rng(2)
    narrow, wide = rng.normal(size=(200, 3)), rng.normal(0.0, 2.0, size=(200, 3))
    same = rng.normal(size=(200, 3))
    assert energy_distance(narrow, wide) > 20 * abs(energy_distance(narrow, same))


def test_too_few_cells_and_other_types() -> None:
    assert math.isnan(energy_distance(FIRST[:1], SECOND))
    assert math.isfinite(energy_distance(FIRST[:1], SECOND, unbiased=False))
    assert math.isnan(energy_distance(FIRST[:0], SECOND, unbiased=False))
    counts = RNG.poisson(3.0, size=(2, 5, 3))
    whole = energy_distance(counts[0].astype(np.uint8), counts[1].astype(np.uint8))
    assert whole == pytest.approx(energy_distance(*counts.astype(float)))
    with pytest.raises(OptionError, match="same dimensions"):
        energy_distance(FIRST, SECOND[:, :2])
    with pytest.raises(OptionError, match="1 of 9 cells"):
        energy_distance(np.where(np.arange(9)[:, None] == 1, np.inf, FIRST), SECOND)
