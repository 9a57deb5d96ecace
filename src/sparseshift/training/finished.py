"""A finished fit on disk: its best weights and records, so that it is not trained again."""

import logging
import os
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from sparseshift.training.checkpoint import Checkpoint
from sparseshift.training.history import History, Record

logger = logging.getLogger(__name__)

_NAME = "finished.safetensors"


class Finished(NamedTuple):
    """The state dict of the best weights, and what happened on the way to them."""

    weights: dict[str, Tensor]
    history: History


def write_finished(directory: Path, weights: dict[str, Tensor], history: History) -> None:
    """Keeps a finished fit; the checkpoints it no longer needs go.

    Args:
        directory: of this fit's checkpoints.
        weights: state dict of the model.
        history: of all phases.
    """
    tensors = {name: value.clone() for name, value in weights.items()}
    header = {
        "records": [list(record) for record in history.records],
        "best": history.best,
        "cpu_seconds": history.cpu_seconds,
    }
    Checkpoint(directory / _NAME).write(tensors, header)
    for path in directory.iterdir():
        if path.name != _NAME:
            path.unlink(missing_ok=True)


def read_finished(directory: Path) -> Finished | None:
    """What `write_finished` kept; None if the fit has not finished."""
    checkpoint = Checkpoint(directory / _NAME)
    saved = checkpoint.read()
    if saved is None:
        return None
    weights, header = saved
    os.utime(checkpoint.path)  # `prune` goes by when a state was last used
    logger.info("Finished before, not trained again (delete %s to train)", directory)
    records = tuple(Record(*values) for values in header["records"])
    return Finished(weights, History(records, header["best"], header["cpu_seconds"]))
