import numpy as np
import pytest

from sparseshift.evaluation.intervals import hierarchical_bootstrap, macro_mean
from sparseshift.evaluation.paired import paired_differences, paired_macro_differences

RNG = np.random.default_rng(0)
GROUPS = np.repeat(["b", "a", "c"], [30, 7, 12])
VALUES = RNG.normal(size=(49, 3)) + np.array([0.0, 1.0, 2.0])
MANY = {"n_resamples": 500, "seed": 3}


def test_a_difference_is_that_of_the_macro_means() -> None:
    found = paired_macro_differences(VALUES, GROUPS, 0, **MANY)
    means = [macro_mean([VALUES[g == GROUPS, j] for g in "abc"]) for j in range(3)]
    assert [d.value for d in found] == pytest.approx([m - means[0] for m in means])
    assert found[0] == (0.0, 0.0, 0.0)
    assert found[1].lower < found[1].value < found[1].upper


def test_the_resamples_are_those_of_one_model_alone() -> None:
    """Of a model against nothing, the interval is that of its macro mean."""
    against = np.column_stack([np.zeros(49), VALUES[:, 0]])
    found = paired_macro_differences(against, GROUPS, 0, **MANY)[1]
    alone = {g: VALUES[g == GROUPS, 0] for g in "abc"}
    expected = hierarchical_bootstrap(alone, macro_mean, **MANY)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_order_of_cells_and_of_models_changes_nothing() -> None:
    found = paired_macro_differences(VALUES, GROUPS, 0, **MANY)
    swapped = paired_macro_differences(VALUES[:, [2, 1, 0]], GROUPS, 2, **MANY)
    np.testing.assert_allclose(found, swapped[::-1], rtol=1e-12)


def test_what_cells_share_cancels() -> None:
    shared = 1e3 * RNG.normal(size=(49, 1))
    plain = paired_macro_differences(VALUES, GROUPS, 0, **MANY)
    with_shared = paired_macro_differences(VALUES + shared, GROUPS, 0, **MANY)
    np.testing.assert_allclose(plain, with_shared, atol=1e-9)


def test_intervals_cover_a_true_difference() -> None:
    """95 % of intervals, within four standard errors of 200 studies of 30 perturbations."""
    rng = np.random.default_rng(1)
    covered = 0
    for study in range(200):
        effect = 0.3 + rng.normal(size=(30, 1))
        values = np.column_stack([np.zeros(30), effect])
        found = paired_differences(values, 0, n_resamples=300, seed=study)[1]
        covered += found.lower <= 0.3 <= found.upper
    assert 0.93 - 4 * np.sqrt(0.95 * 0.05 / 200) < covered / 200 <= 1.0


def test_missing_values_are_left_out() -> None:
    values = np.array([[0.0, 1.0], [0.0, np.nan], [0.0, 3.0]])
    assert paired_differences(values, 0, **MANY)[1].value == 2.0
    nothing = paired_differences(values[[1]], 0, **MANY)[1]
    assert np.isnan(nothing.value)


def test_without_resamples_there_is_no_interval() -> None:
    found = paired_macro_differences(VALUES, GROUPS, 0, n_resamples=0, seed=0)[1]
    assert np.isnan(found.lower)


def test_one_perturbation_or_one_in_common_tells_nothing() -> None:
    one = paired_differences(np.array([[0.0, 1.0]]), 0, **MANY)[1]
    common = paired_differences(np.array([[0.0, 1.0], [0.0, np.nan]]), 0, **MANY)[1]
    cells = paired_macro_differences(VALUES, np.repeat("a", 49), 0, **MANY)[1]
    for found in (one, common, cells):
        assert np.isfinite(found.value)
        assert np.isnan(found.lower)
        assert np.isnan(found.upper)
