import math

import numpy as np
import pytest
from scipy import stats

from sparseshift.evaluation.average_effects import (
    effect_variances,
    log_normalise,
    mean_profile,
    pearson_r,
    sampling_variance,
)

COUNTS = np.random.default_rng(0).poisson(3.0, size=(7, 5)).astype(np.float32)
COUNTS[2] = 0.0


def test_log_normalise_and_mean_profile_are_loops() -> None:
    expected = np.zeros(COUNTS.shape)
    for n, cell in enumerate(COUNTS):
        for g, x in enumerate(cell):
            expected[n, g] = math.log(1.0 + 40.0 * x / cell.sum()) if cell.sum() else 0.0
    np.testing.assert_allclose(log_normalise(COUNTS, 40.0), expected, rtol=1e-5)
    np.testing.assert_allclose(mean_profile(COUNTS, 40.0), expected.sum(0) / 7, rtol=1e-5)


def test_log_normalise_undoes_depth() -> None:
    deeper = COUNTS * np.arange(1, 8)[:, None]
    np.testing.assert_allclose(log_normalise(deeper, 10.0), log_normalise(COUNTS, 10.0), rtol=1e-5)
    filled = np.delete(COUNTS, 2, axis=0)
    np.testing.assert_allclose(np.expm1(log_normalise(filled, 10.0)).sum(1), 10.0, rtol=1e-5)


def test_pearson_r_is_scipys() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        x, y = rng.normal(size=(2, 30))
        assert pearson_r(x, y) == pytest.approx(stats.pearsonr(x, y).statistic)
        assert pearson_r(x, 2.0 * x - 3.0) == pytest.approx(1.0)
        assert pearson_r(x, -x) == pytest.approx(-1.0)


@pytest.mark.parametrize("constant", [0.0, 1.0, -3.0, 0.1, 1 / 3, 0.7])
def test_pearson_r_of_constants_is_nan(constant: float) -> None:
    for n_genes in (7, 30, 100):
        varied, flat = np.random.default_rng(0).normal(size=n_genes), np.full(n_genes, constant)
        assert math.isnan(pearson_r(flat, varied))
        assert math.isnan(pearson_r(varied, flat))


def test_sampling_variance_is_a_loop() -> None:
    n, n_genes = COUNTS.shape
    by_hand = 0.0
    for g in range(n_genes):
        mean = sum(COUNTS[:, g].tolist()) / n
        by_hand += sum((x - mean) ** 2 for x in COUNTS[:, g].tolist()) / (n - 1) / n / n_genes
    assert sampling_variance(COUNTS) == pytest.approx(by_hand, rel=1e-5)
    assert sampling_variance(COUNTS[:1]) == math.inf


def test_effect_variances_find_the_true_variance() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(1.0, 0.5, size=(80, 400))
    profiles = {f"p{i}": e + rng.normal(0.0, 2.0, size=(12, 400)) for i, e in enumerate(true)}
    effects = {name: cells.mean(0) for name, cells in profiles.items()}
    assert effect_variances(profiles, effects) == pytest.approx(
        true.var(0, ddof=1).mean(), abs=0.02
    )
    noise = {name: rng.normal(0.0, 2.0, size=(12, 400)) for name in profiles}
    of_noise = effect_variances(noise, {name: cells.mean(0) for name, cells in noise.items()})
    assert 0.0 <= of_noise < 0.03


def test_effect_variances_are_never_negative() -> None:
    rng = np.random.default_rng(0)
    profiles = {name: rng.normal(size=(5, 3)) for name in "ab"}
    assert effect_variances(profiles, {"a": np.ones(3), "b": np.ones(3)}) == 0.0
    assert effect_variances({"a": profiles["a"]}, {"a": np.ones(3)}) == 0.0
    single = {"a": profiles["a"], "b": profiles["b"][:1]}
    assert effect_variances(single, {"a": np.zeros(3), "b": np.ones(3)}) == 0.0
