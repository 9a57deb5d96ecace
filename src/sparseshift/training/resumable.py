"""Going through a fit epoch by epoch, from the state that a checkpoint kept to the end."""

import logging
from typing import Any, Protocol

from torch import Tensor

from sparseshift.training.checkpoint import Checkpoint

logger = logging.getLogger(__name__)


class Resumable(Protocol):
    """A fit under way. Its state is tensors and a header for JSON."""

    @property
    def finished(self) -> bool:
        """Whether there is no epoch left."""

    def epoch(self) -> None:
        """One pass over the training cells."""

    def tensors(self, *, finished: bool) -> dict[str, Tensor]:
        """Of the state of a fit that has finished, or has not."""

    def header(self) -> dict[str, Any]:
        """The rest of it; says whether it has finished."""

    def load(self, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
        """Goes back to a state, from which every number is that of a fit without a stop."""


def go_through(run: Resumable, checkpoint: Checkpoint | None) -> None:
    """All epochs that are left.

    Args:
        run: as new.
        checkpoint: where its state is kept: gone on from, if it is one of this fit; None: nowhere.
    """
    saved = None if checkpoint is None else checkpoint.read()
    if checkpoint is not None and saved is not None:
        if _fits(run, *saved):
            run.load(*saved)
        else:
            logger.warning("%s is of another fit: this one starts anew.", checkpoint.path)
    while not run.finished:
        run.epoch()
        if checkpoint is not None and (run.finished or checkpoint.is_due()):
            # safetensors refuses tensors that share memory, as flat parameters do
            tensors = run.tensors(finished=run.finished)
            checkpoint.write({name: t.clone() for name, t in tensors.items()}, run.header())


def _fits(run: Resumable, tensors: dict[str, Tensor], header: dict[str, Any]) -> bool:
    """Whether a state is one of this fit: the same numbers by name, in the same shapes."""
    if not set(header) >= set(run.header()):
        return False
    needed = run.tensors(finished=header["finished"])
    return all(n in tensors and tensors[n].shape == t.shape for n, t in needed.items())
