import math
from typing import Any

import pytest

from sparseshift.errors import OptionError
from sparseshift.training.config import TrainingConfig


@pytest.mark.parametrize(
    "name", ["steps", "batch_size", "patience", "n_evaluations", "max_epochs"]
)
def test_sizes_must_be_positive(name: str) -> None:
    with pytest.raises(OptionError, match=f"{name}=0 must be at least 1"):
        TrainingConfig(**{name: 0})


@pytest.mark.parametrize("name", ["learning_rate", "logit_rate", "gradient_clip"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_rates_must_be_positive_and_finite(name: str, value: float) -> None:
    options: dict[str, Any] = {name: value}
    with pytest.raises(OptionError, match=f"{name}={value} must be positive"):
        TrainingConfig(**options)


@pytest.mark.parametrize("name", ["kl_warmup", "validation_fraction"])
@pytest.mark.parametrize("value", [-0.1, 1.0, math.nan])
def test_shares_must_lie_between_0_and_1(name: str, value: float) -> None:
    options: dict[str, Any] = {name: value}
    with pytest.raises(OptionError, match=rf"{name}={value} must lie in \[0, 1\)"):
        TrainingConfig(**options)


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
