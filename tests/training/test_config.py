import math
from dataclasses import fields, replace
from typing import Any

import pytest

from sparseshift.errors import OptionError
from sparseshift.training.config import TrainingConfig


@pytest.mark.parametrize(
    "name", ["steps", "batch_size", "warm_starts", "patience", "n_evaluations", "max_epochs"]
)
def test_sizes_must_be_positive(name: str) -> None:
    sizes: dict[str, Any] = {name: 0}
    with pytest.raises(OptionError, match=f"{name}=0 must be at least 1"):
        TrainingConfig(**sizes)


@pytest.mark.parametrize(
    "name",
    [
        "learning_rate",
        "logit_rate",
        "kl_weight",
        "warm_start_kl_weight",
        "adam_eps",
        "gradient_clip",
    ],
)
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_rates_must_be_positive_and_finite(name: str, value: float) -> None:
    options: dict[str, Any] = {name: value}
    with pytest.raises(OptionError, match=f"{name}={value} must be positive"):
        TrainingConfig(**options)


@pytest.mark.parametrize(
    ("name", "interval", "outside"),
    [
        ("kl_warmup", r"\[0, 1\]", [-0.1, 1.01]),
        ("validation_fraction", r"\[0, 1\)", [-0.1, 1.0]),
        ("warm_start_share", r"\(0, 1\)", [0.0, 1.0]),
    ],
)
def test_shares_must_lie_between_0_and_1(name: str, interval: str, outside: list[float]) -> None:
    for value in (*outside, math.nan):
        options: dict[str, Any] = {name: value}
        with pytest.raises(OptionError, match=rf"{name}={value} must lie in {interval}"):
            TrainingConfig(**options)


@pytest.mark.parametrize("value", [-1e-9, math.nan, math.inf])
def test_weight_decay_must_not_be_negative(value: float) -> None:
    with pytest.raises(OptionError, match=f"weight_decay={value} must not be negative"):
        TrainingConfig(weight_decay=value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"schedule": "cosine"}, "schedule='cosine' is not one of half_cosine, constant"),
        ({"objective_scale": "sum"}, "objective_scale='sum' is not one of cell, screen"),
        ({"steps": 1.5}, r"steps=1\.5 must be a whole number"),
    ],
)
def test_other_values_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        TrainingConfig(**options)


def test_the_ends_that_are_allowed_are_taken() -> None:
    TrainingConfig(kl_warmup=1.0, weight_decay=0.0, gradient_clip=None, validation_fraction=0.0)
    TrainingConfig(kl_warmup=0.0, max_epochs=None)


def test_every_setting_is_explained() -> None:
    assert TrainingConfig.__doc__ is not None
    for field in fields(TrainingConfig):
        assert f"        {field.name}: " in TrainingConfig.__doc__, field.name


@pytest.mark.parametrize("share", [0.4, 0.6, 0.001])
def test_a_part_has_its_share_of_the_length(share: float) -> None:
    config = TrainingConfig(steps=3000, patience=7)
    part = config.part(share)
    assert part.steps == max(1, round(3000 * share))
    assert replace(part, steps=3000) == config
    by_epochs = TrainingConfig(max_epochs=300).part(share)
    assert by_epochs.max_epochs == max(1, round(300 * share))
    assert by_epochs.steps == config.steps


@pytest.mark.parametrize(
    ("n_cells", "steps_per_epoch"), [(1, 1), (60, 1), (100, 1), (149, 1), (151, 2), (1000, 10)]
)
def test_an_epoch_has_about_as_many_steps_as_batches(n_cells: int, steps_per_epoch: int) -> None:
    config = TrainingConfig(batch_size=100, steps=30)
    assert config.steps_per_epoch(n_cells) == steps_per_epoch
    epochs = config.epochs(n_cells)
    assert epochs * steps_per_epoch >= 30 > (epochs - 1) * steps_per_epoch


def test_max_epochs_overrules_steps() -> None:
    assert TrainingConfig(max_epochs=4, steps=10**6).epochs(10**5) == 4
