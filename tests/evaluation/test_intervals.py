import math

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from sparseshift.evaluation.intervals import (
    bootstrap_mean,
    hierarchical_bootstrap,
    macro_mean,
    micro_mean,
    stretched,
    student_interval,
)


def test_macro_and_micro_means() -> None:
    groups = [np.array([1.0, 3.0]), np.array([10.0]), np.array([0.0, 0.0, 0.0, 1.0])]
    assert macro_mean(groups) == pytest.approx((2.0 + 10.0 + 0.25) / 3)
    assert micro_mean(groups) == pytest.approx(15.0 / 7)


@pytest.mark.parametrize("statistic", [macro_mean, micro_mean])
def test_interval_of_constants_is_a_point(statistic: object) -> None:
    groups = {"a": np.full(4, 2.5), "b": np.full(3, 2.5), "c": np.full(1, 2.5)}
    assert callable(statistic)
    interval = hierarchical_bootstrap(groups, statistic, n_resamples=20, seed=0)
    assert interval == (2.5, 2.5, 2.5)
    assert bootstrap_mean(np.full(5, 2.5), n_resamples=20, seed=0) == (2.5, 2.5, 2.5)


def test_interval_holds_the_value_and_does_not_depend_on_the_order_of_groups() -> None:
    rng = np.random.default_rng(0)
    groups = {name: rng.normal(size=6) for name in "abcdefgh"}
    first = hierarchical_bootstrap(groups, macro_mean, n_resamples=200, seed=1)
    turned = dict(reversed(groups.items()))
    assert hierarchical_bootstrap(turned, macro_mean, n_resamples=200, seed=1) == first
    assert hierarchical_bootstrap(groups, macro_mean, n_resamples=200, seed=2) != first
    assert first.value == pytest.approx(np.mean([group.mean() for group in groups.values()]))
    assert first.lower < first.value < first.upper


def test_hierarchical_bootstrap_covers() -> None:
    rng = np.random.default_rng(0)
    n_repeats, covered, width = 120, 0, []
    for repeat in range(n_repeats):
        level = rng.normal(7.0, 1.0, size=15)
        groups = {f"g{i:02d}": rng.normal(m, 2.0, size=8) for i, m in enumerate(level)}
        interval = hierarchical_bootstrap(groups, macro_mean, n_resamples=120, seed=repeat)
        covered += interval.lower <= 7.0 <= interval.upper
        width.append(interval.upper - interval.lower)
    assert 0.9 <= covered / n_repeats <= 1.0
    # members are resampled beside groups, so their variance counts up to twice: 1 + 4/8 + 4/8
    exact = 2 * 1.96 * math.sqrt((1.0 + 4.0 / 8) / 15)
    assert exact * 0.9 < np.mean(width) < exact * math.sqrt(2.0 / 1.5) * 1.05


def test_bootstrap_mean_covers() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for repeat in range(400):
        interval = bootstrap_mean(rng.normal(3.0, 1.0, size=60), n_resamples=300, seed=repeat)
        covered += interval.lower <= 3.0 <= interval.upper
    assert 0.91 <= covered / 400 <= 0.98


@pytest.mark.parametrize("n", [3, 5, 8, 25])
def test_few_values_are_seldom_told_from_nothing(n: int) -> None:
    """Where there is nothing, 5 in 100 intervals do not hold 0; unstretched it was up to 26."""
    draws = np.random.default_rng(n).normal(size=(1500, n))
    found = [bootstrap_mean(row, n_resamples=300, seed=i) for i, row in enumerate(draws)]
    wrong = np.mean([not lower <= 0.0 <= upper for _, lower, upper in found])
    assert 0.025 < wrong < 0.085


def test_stretching_gives_the_width_of_students_interval() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(size=12)
    found = bootstrap_mean(values, n_resamples=100_000, seed=0)
    expected = student_interval(values)
    assert found.value == pytest.approx(expected.value)
    # as wide; the bootstrap's follows the skewness of the values
    assert found.upper - found.lower == pytest.approx(expected.upper - expected.lower, rel=0.02)
    # both ends go away from the estimate alike
    near = stretched(1.0, [0.0, 4.0], 1000)
    far = stretched(1.0, [0.0, 4.0], 3)
    ratio = (far.upper - 1.0) / (near.upper - 1.0)
    assert ratio == pytest.approx((1.0 - far.lower) / (1.0 - near.lower))
    assert ratio == pytest.approx(math.sqrt(3 / 2) * 4.30265 / 1.95996, rel=0.003)


@pytest.mark.parametrize("n", [1, 2])
def test_one_or_two_perturbations_have_no_interval_however_many_cells(n: int) -> None:
    only = {name: np.random.default_rng(0).normal(size=400) for name in "ab"[:n]}
    found = hierarchical_bootstrap(only, macro_mean, n_resamples=50, seed=0)
    assert math.isnan(found.lower)
    assert math.isnan(found.upper)
    assert math.isnan(bootstrap_mean(np.arange(float(n)), n_resamples=50, seed=0).lower)


def test_bootstrap_mean_leaves_nan_out() -> None:
    values = np.array([1.0, np.nan, 3.0, np.nan])
    interval = bootstrap_mean(values, n_resamples=100, seed=0)
    assert interval == bootstrap_mean(np.array([1.0, 3.0]), n_resamples=100, seed=0)
    assert interval.value == 2.0
    for empty in (np.array([np.nan]), np.array([])):
        assert all(math.isnan(bound) for bound in bootstrap_mean(empty, n_resamples=9, seed=0))


@pytest.mark.parametrize("n_resamples", [0, 1])
def test_too_few_resamples_give_no_bounds(n_resamples: int) -> None:
    value, lower, upper = bootstrap_mean(np.array([1.0, 2.0]), n_resamples=n_resamples, seed=0)
    assert value == 1.5
    assert math.isnan(lower)
    assert math.isnan(upper)


def test_students_interval_is_scipys_and_covers() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(3.0, 2.0, size=6)
    interval = student_interval(values)
    expected = ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert interval.value == pytest.approx(values.mean())
    assert interval[1:] == pytest.approx((expected.low, expected.high))
    draws = [student_interval(row) for row in rng.normal(size=(2000, 4))]
    covered = np.mean([lower < 0.0 < upper for _, lower, upper in draws])
    assert covered == pytest.approx(0.95, abs=0.02)


def test_one_draw_has_no_spread_and_missing_ones_are_left_out() -> None:
    assert np.isnan(student_interval(np.array([2.0]))[1:]).all()
    assert student_interval(np.array([2.0, np.nan])).value == 2.0
    assert np.isnan(student_interval(np.array([np.nan]))).all()
