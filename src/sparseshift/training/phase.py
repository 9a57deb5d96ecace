"""One phase of a recipe: a fit of one model, or of several as one."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sparseshift.data.cells import CellSource
from sparseshift.models.vae import PerturbationVAE
from sparseshift.training.checkpoint import Checkpoint
from sparseshift.training.config import TrainingConfig
from sparseshift.training.history import History
from sparseshift.training.loop import fit
from sparseshift.training.many_seeds import fit_together
from sparseshift.training.run import Run


class Member(NamedTuple):
    """One of the models that are fitted together; most often the only one.

    Attributes:
        model: fresh; changed in place.
        train: its training cells.
        validation: cells that choose its best weights; None: none.
        seed: of all its draws.
    """

    model: PerturbationVAE
    train: CellSource
    validation: CellSource | None
    seed: int


def train_phase(
    members: Sequence[Member], name: str, config: TrainingConfig, directory: Path | None
) -> list[History]:
    """Trains models, of a single one keeping its state.

    Args:
        members: one model, or several of the same shape that are trained as one.
        name: of the state, unlike those of the fit's other phases.
        config: the settings of this phase.
        directory: where the state of a single model is kept; None: nowhere.
    """
    if len(members) > 1:
        return fit_together([Run(m.model, m.train, m.validation, config, m.seed) for m in members])
    (member,) = members
    checkpoint = None if directory is None else Checkpoint(directory / f"{name}.safetensors")
    return [fit(member.model, member.train, member.validation, config, member.seed, checkpoint)]


def one_after_another(first: Sequence[History], second: Sequence[History]) -> list[History]:
    """What happened to each model in one phase and then in the next."""
    return [history.then(later) for history, later in zip(first, second, strict=True)]
