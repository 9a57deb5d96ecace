"""Contrasts of groups: the two-group case is Welch's test, and errors are as rare as they say."""

import numpy as np
import pytest
from scipy.stats import ttest_ind

from sparseshift.evaluation.group_contrasts import contrast, groups_of

SIZES = {"a": 9, "b": 14, "c": 40, "d": 25}
LABELS = np.repeat(list(SIZES), list(SIZES.values()))


def test_two_groups_are_a_welch_test() -> None:
    latents = np.random.default_rng(0).normal(size=(len(LABELS), 5)) * 3.0
    found = contrast(groups_of(latents, LABELS), np.array([[0, 2]]), (1, -1), 0.9)
    expected = ttest_ind(latents[LABELS == "a"], latents[LABELS == "c"], equal_var=False)
    interval = expected.confidence_interval(0.9)
    np.testing.assert_allclose(found.p_value(np.zeros(5))[0], expected.pvalue)
    np.testing.assert_allclose(found.value - found.half_width, interval.low[None])
    np.testing.assert_allclose(found.freedom[0], expected.df)


def test_at_the_margin_five_of_a_hundred_are_found() -> None:
    """The null hypothesis is no more than the margin: its border is the worst case."""
    latents = np.random.default_rng(1).normal(size=(len(LABELS), 4000))
    latents[LABELS == "a"] += 0.5
    found = contrast(groups_of(latents, LABELS), np.array([[0, 1, 2, 3]]), (1, -1, -1, 1), 0.95)
    share = (found.p_value(np.full(4000, 0.5)) < 0.05).mean()
    # standard error .0034
    assert share == pytest.approx(0.05, abs=0.014)
    assert (found.p_value(np.full(4000, 0.8)) < 0.05).mean() < share


def test_groups_of_weight_zero_need_not_be_there() -> None:
    groups = groups_of(np.random.default_rng(2).normal(size=(len(LABELS), 2)), LABELS)
    rows = np.array([groups.rows(["a", "b", "missing"])])
    assert rows.tolist() == [[0, 1, -1]]
    assert np.isfinite(contrast(groups, rows, (1, -1, 0), 0.95).half_width).all()
    assert np.isnan(contrast(groups, rows, (1, -1, 1), 0.95).value).all()


def test_pooled_spread_is_that_within_labels() -> None:
    rng = np.random.default_rng(3)
    latents = rng.normal(size=(4000, 1)) * 2.0
    labels = np.repeat(["a", "b"], 2000)
    latents[:2000] += 100.0
    assert groups_of(latents, labels).pooled_sd[0] == pytest.approx(2.0, abs=0.1)
