"""The state of a fit, epoch by epoch: what a loop drives and a checkpoint keeps."""

import logging
import math
import shutil
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from sparseshift.data.cells import CellSource, chunk_size
from sparseshift.errors import OptionError, TrainingError
from sparseshift.models.compiled_elbo import CompiledElbo
from sparseshift.models.vae import PerturbationVAE
from sparseshift.probability.bounds import ElboTerms
from sparseshift.training.best_weights import BestWeights
from sparseshift.training.config import TrainingConfig
from sparseshift.training.history import History, Record
from sparseshift.training.moving_parts import put_moving_parts, take_moving_parts, under
from sparseshift.training.optimizer import FlatAdam, ParameterGroup
from sparseshift.training.schedule import Schedule
from sparseshift.training.validation import Validation, validate

logger = logging.getLogger(__name__)

FAST_PARAMETERS = ("logit", "log_multiplier")  # they travel several units, see logit_rate


class Run:
    """A fit under way: everything that changes from epoch to epoch.

    Args:
        model: changed in place; on the device of the cells.
        train: the training cells.
        validation: cells scored now and then; None: the last weights are the best.
        config: the settings.
        seed: of batches and noise.
    """

    def __init__(
        self,
        model: PerturbationVAE,
        train: CellSource,
        validation: CellSource | None,
        config: TrainingConfig,
        seed: int,
    ) -> None:
        self.model, self.train, self.validation, self.config = model, train, validation, config
        self.seed = seed
        self.generator = torch.Generator(device=model.device).manual_seed(seed)
        self.n_epochs = config.epochs(train.n_cells)
        self.steps_per_epoch = config.steps_per_epoch(train.n_cells)
        self.schedule = Schedule(config, self.n_epochs * self.steps_per_epoch)
        self.scale = float(train.n_cells) if config.objective_scale == "screen" else 1.0
        self.evaluate_every = max(1, math.ceil(self.n_epochs / config.n_evaluations))
        self.optimizer = optimizer_of(model, config)
        self.keeper = BestWeights(model, config.patience, validated=validation is not None)
        self.constant, self.peaks = survey(model, train)
        self.terms: Callable[..., ElboTerms] = model.elbo_terms
        if config.compile:
            self.terms = _compiled(model)
        elif CompiledElbo.fits(model):
            self.terms = CompiledElbo(model)
        self.loss_sum, self.n_losses = 0.0, 0  # since the last record
        self.epochs_done = 0
        self.cpu_seconds = 0.0
        self.finished = False

    @property
    def steps_done(self) -> int:
        """Gradient steps so far."""
        return self.epochs_done * self.steps_per_epoch

    def epoch(self) -> None:
        """One pass over the training cells, and an evaluation if one is due."""
        start = time.process_time()
        self.model.train()
        # of training cells alone: validation cells may have larger counts
        with self.model.likelihood.expecting(self.peaks):
            for i, index in enumerate(self.batches()):
                self._step(index, self.steps_done + i)
        self.end_epoch()
        self.cpu_seconds += time.process_time() - start

    def end_epoch(self) -> None:
        """Counts an epoch whose steps are done, and evaluates if it is time to.

        Models that are fitted together go on until all of them have finished; those that have are not looked at again.
        """
        self.epochs_done += 1
        is_last = self.epochs_done == self.n_epochs
        if not self.finished and (is_last or self.epochs_done % self.evaluate_every == 0):
            self._evaluate()

    def batches(self) -> Iterator[Tensor]:
        """Every cell once, in random order, in batches of nearly the same size."""
        order = torch.randperm(
            self.train.n_cells, generator=self.generator, device=self.generator.device
        )
        yield from order.tensor_split(self.steps_per_epoch)

    def _step(self, index: Tensor, step: int) -> None:
        batch = self.train.take(index)
        noise = self.model.draw_noise(batch, self.generator)
        loss = self.loss(self.terms(batch, noise, self.train.n_cells), index, step)
        self.optimizer.step(loss, self.schedule.rate(step))

    def loss(self, terms: ElboTerms, index: Tensor, step: int) -> Tensor:
        """What is minimised, scalar; its parts are added to the running mean of the negative ELBO.

        Args:
            terms: of the cells.
            index: the cells' positions among the training cells.
            step: steps done so far.

        Raises:
            TrainingError: a term is not finite.
        """
        reconstruction, kl = terms.means(self.train.n_cells)
        negative_elbo = kl.item() - reconstruction.item()
        if not math.isfinite(negative_elbo):
            self.keeper.restore()
            where = f"epoch {self.epochs_done + 1} (seed {self.seed})"
            raise TrainingError(_not_finite(terms, index, where))
        self.loss_sum, self.n_losses = self.loss_sum + negative_elbo, self.n_losses + 1
        weight = self.model.beta * self.schedule.kl_weight(step)
        loss = weight * kl - reconstruction
        return loss if self.scale == 1.0 else self.scale * loss

    def _evaluate(self) -> None:
        self.model.eval()
        record = self._record()
        weights = all(bool(torch.isfinite(p).all()) for p in self.model.parameters())
        scored = self.validation is None or math.isfinite(record.validation_negative_elbo)
        if not (weights and scored):
            self.keeper.restore()
            raise TrainingError(
                f"Training stopped after epoch {self.epochs_done}: weights or validation ELBO are "
                "not finite. Lower learning_rate."
            )
        stop = self.keeper.offer(record)
        if stop and self._overfitted_in_ramp():
            stop = False
            self.keeper.restore()
            self.keeper.have_patience_anew()
            self.schedule.end_ramp(self.steps_done)
        self.finished = stop or self.epochs_done == self.n_epochs

    def _overfitted_in_ramp(self) -> bool:
        """Whether the best weights never saw the final KL weight, and going on from them with it is yet to be tried."""
        of_best = self.keeper.records[self.keeper.best].kl_weight
        return (
            self.keeper.patient_since == 0
            and self.config.kl_warmup < 1.0
            and of_best < self.config.kl_weight
        )

    @torch.no_grad()
    def _record(self) -> Record:
        n_train, last = self.train.n_cells, self.steps_done - 1
        penalty = self.model.prior.cost(n_train).item() / n_train
        score = Validation()
        if self.validation is not None:
            score = validate(self.model, self.validation, penalty)
        record = Record(
            phase=0,
            epoch=self.epochs_done,
            step=self.steps_done,
            kl_weight=self.schedule.kl_weight(last),
            learning_rate=self.config.learning_rate * self.schedule.rate(last),
            train_negative_elbo=self.loss_sum / self.n_losses - self.constant,
            validation_negative_elbo=score.negative_elbo,
            validation_negative_elbo_macro=score.negative_elbo_macro,
            validation_objective=score.objective_macro,
            validation_reconstruction=score.reconstruction,
            validation_kl=score.kl,
            validation_kl_cost=score.kl_cost_macro,
            penalty=penalty,
            n_edges=int((self.model.prior.inclusion_probability() > 0.5).sum()),
        )
        self.loss_sum, self.n_losses = 0.0, 0
        logger.debug("%s", record)
        return record

    def history(self) -> History:
        """What happened so far, and which of it belongs to the best weights."""
        return History(tuple(self.keeper.records), self.keeper.best, self.cpu_seconds)

    def tensors(self, *, finished: bool) -> dict[str, Tensor]:
        """All that `load` needs to go on, bit for bit; of a finished fit the best weights alone."""
        best = {f"best/{name}": value for name, value in self.keeper.state.items()}
        return best if finished else best | take_moving_parts(*self._moving())

    def header(self) -> dict[str, Any]:
        """Progress and records."""
        return {
            "epochs_done": self.epochs_done,
            "finished": self.finished,
            "records": [list(record) for record in self.keeper.records],
            "best": self.keeper.best,
            "patient_since": self.keeper.patient_since,
            "warmup": self.schedule.warmup,
            "loss_sum": self.loss_sum,
            "n_losses": self.n_losses,
            "cpu_seconds": self.cpu_seconds,
        }

    def load(self, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
        """Goes back to such a state."""
        self.epochs_done, self.finished = header["epochs_done"], header["finished"]
        self.keeper.records = [Record(*values) for values in header["records"]]
        self.keeper.best = header["best"]
        self.keeper.patient_since = header["patient_since"]
        self.schedule.warmup = header["warmup"]
        self.keeper.state = under(tensors, "best/")
        self.loss_sum, self.n_losses = header["loss_sum"], header["n_losses"]
        self.cpu_seconds = header["cpu_seconds"]
        logger.info(
            "Going on from a checkpoint: %d of %d epochs%s",
            self.epochs_done, self.n_epochs, ", finished" if self.finished else "",
        )  # fmt: skip
        if not self.finished:
            put_moving_parts(tensors, *self._moving())

    def _moving(self) -> tuple[PerturbationVAE, FlatAdam, torch.Generator]:
        return self.model, self.optimizer, self.generator


def _compiled(model: PerturbationVAE) -> Callable[..., ElboTerms]:
    """The model compiled by Inductor, for batches of each size on its own.

    Raises:
        OptionError: there is no C++ compiler, which Inductor needs on CPUs.
    """
    if model.device.type == "cpu" and not any(map(shutil.which, ("g++", "clang++", "cl"))):
        raise OptionError(
            "compile=True needs a C++ compiler (g++ or clang++), and there is none on the path. "
            "Install one or leave compile=False."
        )
    return torch.compile(model, dynamic=False)


def learning_rates(model: PerturbationVAE, config: TrainingConfig) -> dict[str, float]:
    """Of each parameter that is trained, by name; mask logits and multipliers have their own."""
    fast = config.learning_rate * config.logit_rate
    return {
        name: fast if name.rpartition(".")[2] in FAST_PARAMETERS else config.learning_rate
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


def optimizer_of(model: PerturbationVAE, config: TrainingConfig) -> FlatAdam:
    """Adam for everything that is trained."""
    parameters, rates = dict(model.named_parameters()), learning_rates(model, config)
    groups = [
        ParameterGroup([parameters[name] for name, own in rates.items() if own == rate], rate)
        for rate in sorted(set(rates.values()))
    ]
    return FlatAdam(
        groups, config.gradient_clip, eps=config.adam_eps, weight_decay=config.weight_decay
    )


@torch.no_grad()
def survey(model: PerturbationVAE, cells: CellSource) -> tuple[float, Tensor]:
    """The likelihood's mean constant a cell, and the largest count of each gene, in one pass."""
    constant = cells.design.new_empty(cells.n_cells)  # results in a list would fragment memory
    peaks = torch.zeros(cells.n_genes, device=cells.device)
    size = chunk_size(cells)
    for place, part in zip(constant.split(size), cells.chunks(size), strict=True):
        place.copy_(model.likelihood.constant(part.counts))
        peaks = torch.maximum(peaks, part.counts.amax(0))
    return constant.mean().item(), peaks


def _not_finite(terms: ElboTerms, index: Tensor, where: str) -> str:
    for name, value in terms._asdict().items():
        bad = ~torch.isfinite(value)
        if bad.any():
            cells = index[bad].tolist()[:10] if value.ndim else []
            of = f" of training cells {cells}" if cells else ""
            return (
                f"Training stopped in {where}: the term {name}{of} is not finite. "
                "Lower learning_rate, or look at these cells (very large counts?)."
            )
    return f"Training stopped in {where}: the loss is not finite. Lower learning_rate."
