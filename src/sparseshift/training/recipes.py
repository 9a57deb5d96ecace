"""How a fit is put together of phases: at once, rotate then refine, or as the public code does."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from sparseshift.data.cells import CellSource
from sparseshift.models.adaptation import with_new_rows
from sparseshift.models.masks import BernoulliMask
from sparseshift.models.priors import ShiftPrior, StandardNormalPrior
from sparseshift.models.vae import PerturbationVAE
from sparseshift.training.checkpoint import Checkpoint
from sparseshift.training.config import TrainingConfig
from sparseshift.training.finished import read_finished, write_finished
from sparseshift.training.history import History
from sparseshift.training.loop import fit
from sparseshift.training.rotation_start import start_from_rotation
from sparseshift.training.threads import one_thread

logger = logging.getLogger(__name__)

RECIPES = ("plain", "rotation", "rotation_only", "paper")


class Job(NamedTuple):
    """What every phase of a fit shares.

    Attributes:
        train: training cells.
        validation: cells that choose the best weights; None: none.
        config: the settings of the whole.
        seed: of all draws.
        directory: where checkpoints are kept; None: nowhere.
    """

    train: CellSource
    validation: CellSource | None
    config: TrainingConfig
    seed: int
    directory: Path | None

    def phase(self, model: PerturbationVAE, number: int, config: TrainingConfig) -> History:
        """One call of the training loop."""
        checkpoint = None
        if self.directory is not None:
            checkpoint = Checkpoint(self.directory / f"phase_{number}.safetensors")
        return fit(model, self.train, self.validation, config, self.seed, checkpoint)


@one_thread()
def follow(recipe: str, model: PerturbationVAE, job: Job) -> History:
    """Trains a model by a recipe; every phase goes on from its own checkpoint.

    A fit that was finished before is not trained again: its weights and records are read.

    Args:
        recipe: "plain"; "rotation": a plain VAE, its rotation, then the model itself from there;
            "rotation_only": without the last; "paper": once, then again with its graph frozen.
        model: fresh; changed in place.
        job: data and settings.
    """
    if job.directory is None:
        return _train(recipe, model, job)
    kept = read_finished(job.directory)
    if kept is None:
        history = _train(recipe, model, job)
        write_finished(job.directory, model.state_dict(), history)
        return history
    if recipe == "paper":
        _freeze_graph(model)
    model.load_state_dict(kept.weights)
    return kept.history


def _train(recipe: str, model: PerturbationVAE, job: Job) -> History:
    if recipe in ("rotation", "rotation_only"):
        return _rotation(model, job, refine=recipe == "rotation")
    history = job.phase(model, 0, job.config)
    if recipe == "paper":
        freeze_graph(model)
        history = history.then(job.phase(model, 1, job.config))
    return history


def _rotation(model: PerturbationVAE, job: Job, *, refine: bool) -> History:
    config, share = job.config, job.config.warm_start_share if refine else 1.0
    plain = with_new_rows(model, StandardNormalPrior(*model.prior.effect().shape))
    # a slow ramp that ends low: with a fast one, latents collapse and are lost
    ramp = replace(config.part(share), kl_warmup=1.0, kl_weight=config.warm_start_kl_weight)
    history = job.phase(plain, 0, ramp)
    start_from_rotation(model, job.train, job.seed)
    if not refine:
        return history
    return history.then(job.phase(model, 1, replace(config.part(1.0 - share), kl_warmup=0.0)))


def freeze_graph(model: PerturbationVAE) -> None:
    """Fixes which edges there are, at no further cost, where masks were learnt."""
    if isinstance(model.prior, ShiftPrior) and isinstance(model.prior.mask, BernoulliMask):
        model.prior.mask.freeze()
