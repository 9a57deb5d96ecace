"""The training loop: data resident on the device, index-gather batches, Adam, best weights kept."""

import logging

import torch

from sparseshift.data.cells import CellSource
from sparseshift.models.vae import PerturbationVAE
from sparseshift.training.checkpoint import Checkpoint
from sparseshift.training.config import TrainingConfig
from sparseshift.training.history import History
from sparseshift.training.memory import undisturbed
from sparseshift.training.precision import products
from sparseshift.training.run import Run
from sparseshift.training.threads import one_thread

logger = logging.getLogger(__name__)


@one_thread()
@undisturbed()
def fit(
    model: PerturbationVAE,
    train: CellSource,
    validation: CellSource | None,
    config: TrainingConfig,
    seed: int,
    checkpoint: Checkpoint | None = None,
) -> History:
    """Maximises the ELBO of `train`; leaves the weights with the best validation ELBO in `model`.

    Args:
        model: changed in place; on the device of the cells.
        train: the training cells.
        validation: cells scored now and then; None: the last weights are the best.
        config: the settings.
        seed: of batches and noise.
        checkpoint: where the state is kept; a fit that was interrupted goes on from there, with
            the numbers of one that was not, and a finished one is not repeated.

    Raises:
        TrainingError: a term of the objective is not finite; the message names it, the epoch and
            the cells. The model then holds the best weights before.
    """
    with torch.random.fork_rng(), products(config.precision):
        torch.manual_seed(seed)  # dropout draws from the global generator
        run = Run(model, train, validation, config, seed)
        saved = None if checkpoint is None else checkpoint.read()
        if checkpoint is not None and saved is not None:
            if run.fits(*saved):
                run.load(*saved)
            else:
                logger.warning("%s is of another fit: this one starts anew.", checkpoint.path)
        while not run.finished:
            run.epoch()
            if checkpoint is not None and (run.finished or checkpoint.is_due()):
                checkpoint.write(*run.dump())
        run.keeper.restore()
        return run.history()
