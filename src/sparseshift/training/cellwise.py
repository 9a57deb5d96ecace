"""Training decoder and prior with a posterior of its own for each cell (`models.cell_posteriors`)."""

import time
from typing import Any

import torch
from torch import Tensor

from sparseshift.data.cells import CellSource
from sparseshift.errors import TrainingError
from sparseshift.models.cell_posteriors import CellPosteriors, cosine
from sparseshift.models.vae import PerturbationVAE
from sparseshift.probability.bounds import ElboTerms
from sparseshift.training.checkpoint import Checkpoint
from sparseshift.training.config import TrainingConfig
from sparseshift.training.encoded import encoded
from sparseshift.training.memory import undisturbed
from sparseshift.training.moving_parts import put_moving_parts, take_moving_parts, under
from sparseshift.training.precision import products
from sparseshift.training.resumable import go_through
from sparseshift.training.run import optimizer_of, survey
from sparseshift.training.threads import one_thread


class CellwiseRun:
    """Such a training under way: everything that changes from epoch to epoch.

    Args:
        model: trained; its decoder, likelihood and prior are changed in place.
        train: the training cells.
        config: the settings of this phase.
        seed: of batches and noise.
    """

    def __init__(
        self, model: PerturbationVAE, train: CellSource, config: TrainingConfig, seed: int
    ) -> None:
        self.model, self.train, self.config, self.seed = model, train, config, seed
        self.posteriors = CellPosteriors(*encoded(model, train))
        self.generator = torch.Generator(device=model.device).manual_seed(seed)
        self.optimizer = optimizer_of(model, config)
        self.steps_per_epoch = config.steps_per_epoch(train.n_cells)
        self.n_epochs = config.epochs(train.n_cells)
        _, self.peaks = survey(model, train)
        self.epochs_done = 0
        self.cpu_seconds = 0.0

    @property
    def finished(self) -> bool:
        """Whether there is no epoch left."""
        return self.epochs_done >= self.n_epochs

    def epoch(self) -> None:
        """One pass over the training cells."""
        start = time.process_time()
        share = cosine(self.epochs_done / self.n_epochs)
        order = torch.randperm(
            self.train.n_cells, generator=self.generator, device=self.generator.device
        )
        self.model.train()
        with self.model.likelihood.expecting(self.peaks):
            for index in order.tensor_split(self.steps_per_epoch):
                self._step(index, share)
        self.epochs_done += 1
        self.cpu_seconds += time.process_time() - start

    def _step(self, index: Tensor, share: float) -> None:
        model = self.model
        cells, own = self.train.take(index), self.posteriors.take(index)
        mean, log_std = own.chunk(2, dim=1)
        noise = model.draw_noise(cells, self.generator)
        std = log_std.exp()
        scores = model.decoder(mean + std * noise.latent, model.covariates(cells))
        terms = ElboTerms(
            model.likelihood.log_prob(cells.counts, scores),
            model.prior.shift(cells, noise.shift).kl_divergence(mean, std),
            model.prior.cost(self.train.n_cells),
        )
        loss = terms.negative_elbo(self.train.n_cells)
        if not torch.isfinite(loss):
            raise TrainingError(
                f"Training stopped in epoch {self.epochs_done + 1} of cellwise posteriors (seed "
                f"{self.seed}): the loss is not finite. Lower learning_rate or cellwise_rate."
            )
        (gradient,) = self.optimizer.step(loss, share, [own])
        self.posteriors.descend(index, gradient * cells.n_cells, self.config.cellwise_rate * share)

    def tensors(self, *, finished: bool) -> dict[str, Tensor]:
        """All that `load` needs to go on, bit for bit; of a finished fit without what no step needs."""
        model = {f"model/{name}": value for name, value in self.model.state_dict().items()}
        own = {f"posteriors/{name}": value for name, value in vars(self.posteriors).items()}
        if finished:
            return model | own
        return own | take_moving_parts(self.model, self.optimizer, self.generator)

    def header(self) -> dict[str, Any]:
        """Progress."""
        return {
            "epochs_done": self.epochs_done,
            "finished": self.finished,
            "cpu_seconds": self.cpu_seconds,
        }

    def load(self, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
        """Goes back to such a state."""
        self.epochs_done, self.cpu_seconds = header["epochs_done"], header["cpu_seconds"]
        for name, value in under(tensors, "posteriors/").items():
            getattr(self.posteriors, name).copy_(value)
        if self.finished:
            self.model.load_state_dict(under(tensors, "model/"))
        else:
            put_moving_parts(tensors, self.model, self.optimizer, self.generator)


@one_thread()
@undisturbed()
def fit_cellwise(
    model: PerturbationVAE,
    train: CellSource,
    config: TrainingConfig,
    seed: int,
    checkpoint: Checkpoint | None = None,
) -> CellwiseRun:
    """Maximises the ELBO over decoder, prior and the posteriors of all cells; the encoder stays.

    The posteriors start from the encoder's and take long steps at first: what a decoder that was trained
    with an encoder has bent is straightened by that, and hardly by short ones (docs/decisions/0013).
    No validation cells: an unseen cell has no posterior.

    Args:
        model: trained; its decoder, likelihood and prior are changed in place.
        train: the training cells.
        config: the settings of this phase.
        seed: of batches and noise.
        checkpoint: where the state is kept, see `training.loop.fit`.

    Raises:
        TrainingError: the loss is not finite.
    """
    with torch.random.fork_rng(), products(config.precision):
        torch.manual_seed(seed)  # dropout draws from the global generator
        model.encoder.requires_grad_(False)
        run = CellwiseRun(model, train, config, seed)
        go_through(run, checkpoint)
        model.encoder.requires_grad_(True)
    return run
