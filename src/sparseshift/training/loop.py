"""The training loop: data resident on the device, index-gather batches, Adam, best weights kept."""

import torch

from sparseshift.data.cells import CellSource
from sparseshift.models.vae import PerturbationVAE
from sparseshift.training.checkpoint import Checkpoint
from sparseshift.training.config import TrainingConfig
from sparseshift.training.history import History
from sparseshift.training.memory import undisturbed
from sparseshift.training.precision import products
from sparseshift.training.resumable import go_through
from sparseshift.training.run import Run
from sparseshift.training.threads import one_thread


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
        go_through(run, checkpoint)
        run.keeper.restore()
        return run.history()
