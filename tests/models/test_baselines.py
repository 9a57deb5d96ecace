"""The simple predictors of mean expression."""

import numpy as np
import pytest

from sparseshift.models.baselines import additive_effect, mean_effect, shrunk_effect


def test_mean_and_additive_effects() -> None:
    rng = np.random.default_rng(0)
    effects = {name: rng.normal(size=5) for name in "ABC"}
    by_hand = [sum(effects[name][g] for name in "ABC") / 3 for g in range(5)]
    np.testing.assert_allclose(mean_effect(effects), by_hand)
    added = additive_effect(["A", "C"], effects)
    assert added is not None
    np.testing.assert_allclose(added, effects["A"] + effects["C"])
    assert additive_effect(["A", "Z"], effects) is None
    assert additive_effect(["A"], effects) is None


def test_shrunk_effect_lies_between_support_and_fallback() -> None:
    support, fallback = np.array([4.0, -2.0]), np.array([1.0, 0.0])
    np.testing.assert_allclose(shrunk_effect(support, fallback, 2.0, 0.0), support)
    np.testing.assert_allclose(shrunk_effect(support, fallback, 0.0, 2.0), fallback)
    np.testing.assert_allclose(shrunk_effect(support, fallback, 0.0, 0.0), fallback)
    np.testing.assert_allclose(shrunk_effect(support, fallback, 1.0, float("inf")), fallback)
    np.testing.assert_allclose(shrunk_effect(support, fallback, 1.0, 3.0), [1.75, -0.5])


def test_shrunk_effect_has_the_smallest_error() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(0.0, 1.0, size=20_000)
    seen = true + rng.normal(0.0, 2.0, size=true.size)
    error = {
        weight: ((shrunk_effect(seen, np.zeros(1), weight, 4.0) - true) ** 2).mean()
        for weight in (0.0, 0.3, 1.0, 3.0, 1e9)
    }
    assert min(error, key=lambda weight: error[weight]) == 1.0
    assert error[1.0] == pytest.approx(1.0 * 4.0 / 5.0, rel=0.05)
