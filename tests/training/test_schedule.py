"""Learning rate and KL weight over the steps of a fit."""

import math
from itertools import pairwise

import pytest

from sparseshift.training.config import TrainingConfig
from sparseshift.training.schedule import Schedule


def test_schedule() -> None:
    schedule = Schedule(TrainingConfig(kl_warmup=0.5), 100)
    kl = [schedule.kl_weight(step) for step in range(100)]
    assert kl[0] == pytest.approx(1 / 51)
    assert kl[24] == pytest.approx(25 / 51)
    assert kl[50:] == [1.0] * 50
    assert all(a < b for a, b in pairwise(kl[:51]))
    assert max(b - a for a, b in pairwise(kl)) == pytest.approx(1 / 51)
    rate = [schedule.rate(step) for step in range(101)]
    assert rate[0] == 1.0
    assert rate[50] == pytest.approx(0.5)
    assert rate[25] == pytest.approx(0.5 * (1 + math.sqrt(0.5)))
    assert rate[100] == pytest.approx(0.0, abs=1e-15)
    assert all(a > b for a, b in pairwise(rate))


def test_schedule_without_warmup() -> None:
    schedule = Schedule(TrainingConfig(kl_warmup=0.0), 10)
    assert [schedule.kl_weight(step) for step in range(10)] == [1.0] * 10


def test_a_constant_rate_stays() -> None:
    schedule = Schedule(TrainingConfig(schedule="constant"), 40)
    assert [schedule.rate(step) for step in range(41)] == [1.0] * 41


@pytest.mark.parametrize("kl_weight", [0.33, 1.0, 2.0])
def test_kl_weight_ends_at_what_is_set(kl_weight: float) -> None:
    plain = Schedule(TrainingConfig(kl_warmup=0.4), 50)
    scaled = Schedule(TrainingConfig(kl_warmup=0.4, kl_weight=kl_weight), 50)
    for step in range(50):
        assert scaled.kl_weight(step) == pytest.approx(kl_weight * plain.kl_weight(step))
    assert scaled.kl_weight(49) == kl_weight


def test_a_warmup_as_long_as_the_fit_rises_to_the_end() -> None:
    schedule = Schedule(TrainingConfig(kl_warmup=1.0, kl_weight=0.33), 60)
    weights = [schedule.kl_weight(step) for step in range(60)]
    assert all(a < b for a, b in pairwise(weights))
    assert weights[-1] == pytest.approx(0.33 * 60 / 61)


def test_a_ramp_that_is_ended_gives_the_final_weight_from_there_on() -> None:
    schedule = Schedule(TrainingConfig(kl_warmup=0.5, kl_weight=0.8), 30)
    before = [schedule.kl_weight(step) for step in range(30)]
    schedule.end_ramp(10)
    assert [schedule.kl_weight(step) for step in range(10, 30)] == [0.8] * 20
    schedule = Schedule(TrainingConfig(kl_warmup=0.5, kl_weight=0.8), 30)
    schedule.end_ramp(20)  # it was over already
    assert [schedule.kl_weight(step) for step in range(30)] == before
