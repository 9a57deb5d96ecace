import math

import numpy as np
import pytest

from sparseshift.errors import OptionError
from sparseshift.evaluation.ceiling import Rescaled, ceiling_gap, rescale

RNG = np.random.default_rng(0)
FLOOR = RNG.normal(0.2, 0.1, size=20)
CEILING = FLOOR + RNG.normal(0.4, 0.1, size=20)
MODEL = FLOOR + RNG.normal(0.2, 0.1, size=20)


def scaled(model: np.ndarray, *, lower_is_better: bool = False) -> Rescaled:
    sign = -1.0 if lower_is_better else 1.0
    return rescale(
        sign * model,
        sign * CEILING,
        sign * FLOOR,
        lower_is_better=lower_is_better,
        n_resamples=300,
        seed=1,
    )


def test_the_gap_is_a_paired_difference() -> None:
    gap = ceiling_gap(CEILING, FLOOR)
    difference = CEILING - FLOOR
    assert gap.value == pytest.approx(difference.mean())
    assert gap.standard_error == pytest.approx(difference.std(ddof=1) / math.sqrt(20))
    assert gap.n_perturbations == 20
    assert gap.resolvable
    # what all scores of a perturbation share does not count
    shared = 100.0 * RNG.normal(size=20)
    assert ceiling_gap(CEILING + shared, FLOOR + shared).standard_error == pytest.approx(
        gap.standard_error, rel=1e-6
    )


@pytest.mark.parametrize("lower_is_better", [False, True])
def test_floor_is_zero_ceiling_one_and_halfway_a_half(lower_is_better: bool) -> None:
    for model, expected in ((FLOOR, 0.0), (CEILING, 1.0), ((FLOOR + CEILING) / 2, 0.5)):
        score = scaled(model, lower_is_better=lower_is_better).score
        assert score == pytest.approx((expected,) * 3, abs=1e-12)
    beyond = scaled(CEILING + 0.1, lower_is_better=lower_is_better).score
    assert beyond.lower > 1.0
    assert scaled(MODEL, lower_is_better=lower_is_better).score == pytest.approx(
        scaled(MODEL).score
    )


def test_it_is_a_ratio_of_means_that_units_do_not_change() -> None:
    score = scaled(MODEL).score
    by_hand = (MODEL.mean() - FLOOR.mean()) / (CEILING.mean() - FLOOR.mean())
    assert score.value == pytest.approx(by_hand)
    assert score.lower < score.value < score.upper
    other_units = rescale(7 * MODEL + 3, 7 * CEILING + 3, 7 * FLOOR + 3, n_resamples=300, seed=1)
    assert other_units.score == pytest.approx(score)
    # linear in the model, draw by draw: the same perturbations were drawn for both
    mixed = scaled(0.5 * MODEL + 0.5 * CEILING).score
    assert mixed == pytest.approx(tuple(0.5 * bound + 0.5 for bound in score))


def test_gaps_of_noise_few_perturbations_or_the_wrong_sign_are_not_resolvable() -> None:
    noise = FLOOR + RNG.normal(0.0, 0.5, size=20)
    for result in (
        rescale(MODEL, noise, FLOOR, n_resamples=300, seed=1),
        rescale(MODEL[:2], CEILING[:2], FLOOR[:2], n_resamples=300, seed=1),
        rescale(MODEL, FLOOR, CEILING, n_resamples=300, seed=1),
        rescale(MODEL, CEILING, FLOOR, lower_is_better=True, n_resamples=300, seed=1),
        rescale(MODEL, FLOOR, FLOOR, n_resamples=300, seed=1),
        rescale(MODEL, np.full(20, np.nan), FLOOR, n_resamples=300, seed=1),
    ):
        assert np.isnan(result.score).all()
    assert scaled(FLOOR + 0.5 * (CEILING - FLOOR)).score == pytest.approx((0.5, 0.5, 0.5))


def test_without_a_difference_the_gap_is_rarely_resolvable() -> None:
    rng = np.random.default_rng(1)
    found = [ceiling_gap(*rng.normal(size=(2, 30))).resolvable for _ in range(2000)]
    # one side of two standard errors
    assert np.mean(found) == pytest.approx(0.0275, abs=0.012)


def test_repeated_splits_count_as_one_perturbation() -> None:
    splits = [np.tile(scores, (4, 1)) for scores in (MODEL, CEILING, FLOOR)]
    assert rescale(*splits, n_resamples=300, seed=1) == scaled(MODEL)
    noise = RNG.normal(size=(3, 4, 20))
    noise -= noise.mean(axis=1, keepdims=True)
    noisy = [scores + n for scores, n in zip(splits, noise, strict=True)]
    assert rescale(*noisy, n_resamples=300, seed=1).score == pytest.approx(scaled(MODEL).score)


def test_undefined_scores_are_left_out_in_pairs() -> None:
    model, ceiling = np.tile(MODEL, (2, 1)), np.tile(CEILING, (2, 1))
    model[:, 4] = np.nan
    ceiling[0, 7] = np.nan
    floor = np.tile(FLOOR, (2, 1))
    floor[0, 7] = 99.0  # not a pair: the ceiling of this split is undefined
    found = rescale(model, ceiling, floor, n_resamples=300, seed=1)
    kept = np.delete(np.arange(20), 4)
    expected = rescale(MODEL[kept], CEILING[kept], FLOOR[kept], n_resamples=300, seed=1)
    assert found.gap.n_perturbations == 19
    assert found.score == pytest.approx(expected.score)


def test_the_floor_may_be_one_number() -> None:
    by_number = rescale(MODEL, CEILING, 0.0, n_resamples=300, seed=1)
    assert by_number == rescale(MODEL, CEILING, np.zeros(20), n_resamples=300, seed=1)


def test_scores_of_other_perturbations_are_refused() -> None:
    with pytest.raises(OptionError, match=r"shapes \(1,\) and \(20,\)"):
        rescale(MODEL, CEILING[:1], FLOOR, n_resamples=300, seed=1)


def test_the_interval_covers() -> None:
    rng = np.random.default_rng(2)
    covered = 0
    for repeat in range(300):
        noise = rng.normal(size=(3, 30))
        floor = noise[0]
        ceiling, model = floor + 1.0 + noise[1], floor + 0.5 + 0.5 * noise[1] + 0.5 * noise[2]
        score = rescale(model, ceiling, floor, n_resamples=200, seed=repeat).score
        covered += score.lower <= 0.5 <= score.upper
    assert 0.9 <= covered / 300 <= 0.98
