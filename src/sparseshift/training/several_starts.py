"""The best of several fits from the same weights, with cells in another order and other noise.

What a plain VAE folds together no rotation takes apart, and a start that did so has the worse objective
(docs/decisions/0018-several-starts.md).
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor

from sparseshift.models.vae import PerturbationVAE
from sparseshift.training.config import TrainingConfig
from sparseshift.training.history import History
from sparseshift.training.phase import Member, train_phase

logger = logging.getLogger(__name__)


class _Start(NamedTuple):
    number: int
    history: History
    weights: dict[str, Tensor]


def train_best_start(
    members: Sequence[Member], name: str, config: TrainingConfig, directory: Path | None
) -> list[History]:
    """Trains each model `config.warm_starts` times and puts the best weights of all times into it.

    The first start is the fit that a single one would be.

    Args:
        members: as of `train_phase`.
        name: of the state of the first start.
        config: the settings of each start.
        directory: as of `train_phase`.

    Returns:
        For each model the history of its best start, with the CPU seconds of all.
    """
    fresh = [_weights(member.model) for member in members]
    best = _start(members, 0, name, config, directory)
    for number in range(1, config.warm_starts):
        _load(members, fresh)
        tried = _start(members, number, f"{name}_start_{number}", config, directory)
        best = [_better(*pair, config.kl_weight) for pair in zip(best, tried, strict=True)]
    _load(members, [start.weights for start in best])
    if config.warm_starts > 1:
        numbers = ", ".join(str(start.number + 1) for start in best)
        logger.info("Of %d starts the best is number %s", config.warm_starts, numbers)
    return [start.history for start in best]


def _start(
    members: Sequence[Member],
    number: int,
    name: str,
    config: TrainingConfig,
    directory: Path | None,
) -> list[_Start]:
    drawn = [member._replace(seed=_seed_of_start(member.seed, number)) for member in members]
    histories = train_phase(drawn, name, config, directory)
    return [_Start(number, h, _weights(m.model)) for h, m in zip(histories, members, strict=True)]


def _better(before: _Start, now: _Start, kl_weight: float) -> _Start:
    better = min(before, now, key=lambda start: start.history.objective_at(kl_weight))
    spent = before.history.cpu_seconds + now.history.cpu_seconds
    return better._replace(history=better.history._replace(cpu_seconds=spent))


def _load(members: Sequence[Member], weights: Sequence[dict[str, Tensor]]) -> None:
    for member, state in zip(members, weights, strict=True):
        member.model.load_state_dict(state)


def _weights(model: PerturbationVAE) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def _seed_of_start(seed: int, number: int) -> int:
    if number == 0:
        return seed
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
