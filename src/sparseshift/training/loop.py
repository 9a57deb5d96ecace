"""The training loop: data resident on the device, index-gather batches, Adam, best weights kept."""

import logging
import math
from collections.abc import Iterator

import torch
from torch import Tensor

from sparseshift.data.cells import Cells, CellSource
from sparseshift.errors import TrainingError
from sparseshift.models.vae import PerturbationVAE
from sparseshift.probability.bounds import ElboTerms
from sparseshift.probability.negative_binomial import log_factorials
from sparseshift.training.config import TrainingConfig
from sparseshift.training.history import History, Record
from sparseshift.training.optimizer import FlatAdam, ParameterGroup
from sparseshift.training.threads import one_thread

logger = logging.getLogger(__name__)

# Memory: few floats at a time, and small results written into one tensor. In a list they would lie
# between the large ones and keep the memory that those leave from being used again.
_ELEMENTS = 2**18


@one_thread()
def fit(
    model: PerturbationVAE,
    train: CellSource,
    validation: CellSource | None,
    config: TrainingConfig,
    seed: int,
) -> History:
    """Maximises the ELBO of `train`; leaves the weights with the best validation ELBO in `model`.

    Args:
        model: changed in place; on the device of the cells.
        train: the training cells.
        validation: cells scored now and then; None: the last weights are the best.
        config: the settings.
        seed: of batches and noise.

    Raises:
        TrainingError: a term of the objective is not finite; the message names it, the epoch and
            the cells. The model then holds the best weights before.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # dropout draws from the global generator
        return _fit(model, train, validation, config, seed)


def _fit(
    model: PerturbationVAE,
    train: CellSource,
    validation: CellSource | None,
    config: TrainingConfig,
    seed: int,
) -> History:
    generator = torch.Generator(device=train.device).manual_seed(seed)
    n_epochs, n_steps = config.epochs(train.n_cells), config.steps_per_epoch(train.n_cells)
    schedule = Schedule(config, n_epochs * n_steps)
    optimizer = _optimizer(model, config)
    evaluate_every = max(1, math.ceil(n_epochs / config.n_evaluations))
    keeper = BestWeights(model, config.patience, validated=validation is not None)
    constant = _mean_log_factorials(train)
    running = train.design.new_empty(evaluate_every * n_steps)
    step = seen = 0
    for epoch in range(1, n_epochs + 1):
        model.train()
        for index in _batches(train.n_cells, n_steps, generator):
            batch = train.take(index)
            noise = _noise(batch, model, generator)
            terms = model.elbo_terms(batch, noise)
            loss = terms.negative_elbo(train.n_cells, schedule.kl_weight(step))
            if not math.isfinite(loss.item()):
                keeper.restore()
                raise TrainingError(_not_finite(terms, index, epoch))
            optimizer.step(loss, schedule.rate(step))
            running[seen] = terms.negative_elbo(train.n_cells).detach() + constant
            step, seen = step + 1, seen + 1
        if epoch % evaluate_every == 0 or epoch == n_epochs:
            losses, seen = running[:seen], 0
            record = _record(model, train.n_cells, validation, losses, epoch, step, schedule)
            if not _is_finite(model, record):
                keeper.restore()
                raise TrainingError(
                    f"Training stopped after epoch {epoch}: weights or validation ELBO are not "
                    "finite. Lower learning_rate."
                )
            if keeper.offer(record, warm=step > config.kl_warmup * schedule.n_steps):
                break
    keeper.restore()
    return keeper.history()


class Schedule:
    """Learning rate and KL weight as functions of the share of steps done."""

    def __init__(self, config: TrainingConfig, n_steps: int) -> None:
        self.config = config
        self.n_steps = n_steps

    def kl_weight(self, step: int) -> float:
        """Linear up to 1 over the warm-up; never quite 0."""
        warmup = self.config.kl_warmup * self.n_steps
        return 1.0 if step >= warmup else (step + 1) / (warmup + 1)

    def rate(self, step: int) -> float:
        """Share of the largest learning rate: a half cosine to zero."""
        return 0.5 * (1.0 + math.cos(math.pi * step / self.n_steps))


class BestWeights:
    """Keeps the weights of the best validation ELBO, macro over perturbations.

    During the warm-up the objective still changes, so the latest weights count as the best, up to
    the first evaluation after it; without validation cells the latest are always kept.

    Args:
        model: whose weights are kept.
        patience: evaluations without a better score before training stops.
        validated: whether there are validation cells.
    """

    def __init__(self, model: PerturbationVAE, patience: int, *, validated: bool) -> None:
        self.model = model
        self.patience = patience
        self.validated = validated
        self.records: list[Record] = []
        self.best = 0
        self.waited = 0
        self.was_warm = False
        self.state = self._copy()

    def offer(self, record: Record, *, warm: bool) -> bool:
        """Takes one evaluation, `warm` once the warm-up is over; True when training should stop."""
        self.records.append(record)
        latest = not self.was_warm or not self.validated
        self.was_warm = warm
        if latest or self._score(record) < self._score(self.records[self.best]):
            self.best, self.waited, self.state = len(self.records) - 1, 0, self._copy()
        else:
            self.waited += 1
        return warm and self.waited >= self.patience

    def restore(self) -> None:
        """Puts the best weights back into the model."""
        self.model.load_state_dict(self.state)

    def history(self) -> History:
        """All records, and which is the best."""
        return History(tuple(self.records), self.best)

    @staticmethod
    def _score(record: Record) -> float:
        return record.validation_negative_elbo_macro

    def _copy(self) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in self.model.state_dict().items()}


def _optimizer(model: PerturbationVAE, config: TrainingConfig) -> FlatAdam:
    logits = [p for name, p in model.named_parameters() if name.endswith(".logit")]
    others = [p for name, p in model.named_parameters() if not name.endswith(".logit")]
    rate = config.learning_rate
    groups = [ParameterGroup(others, rate), ParameterGroup(logits, rate * config.logit_rate)]
    return FlatAdam(groups, config.gradient_clip)


def _batches(n_cells: int, n_steps: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Every cell once, in random order, in `n_steps` batches of nearly the same size."""
    order = torch.randperm(n_cells, generator=generator, device=generator.device)
    yield from order.tensor_split(n_steps)


def _mean_log_factorials(cells: CellSource) -> Tensor:
    chunk = max(1, _ELEMENTS // cells.n_genes)
    found = cells.design.new_empty(cells.n_cells)
    for place, part in zip(found.split(chunk), cells.chunks(chunk), strict=True):
        place.copy_(log_factorials(part.counts))
    return found.mean()


def _noise(cells: Cells, model: PerturbationVAE, generator: torch.Generator) -> Tensor:
    shape = (cells.n_cells, model.encoder.mean.out_features)
    return torch.randn(shape, generator=generator, device=generator.device)


@torch.no_grad()
def _record(
    model: PerturbationVAE,
    n_train: int,
    validation: CellSource | None,
    losses: Tensor,
    epoch: int,
    step: int,
    schedule: Schedule,
) -> Record:
    model.eval()
    penalty = model.prior.penalty().item() / n_train
    scores = (math.nan, math.nan, math.nan, math.nan)
    if validation is not None:
        scores = _validate(model, validation, penalty)
    record = Record(
        epoch=epoch,
        step=step,
        kl_weight=schedule.kl_weight(step - 1),
        learning_rate=schedule.config.learning_rate * schedule.rate(step - 1),
        train_negative_elbo=losses.mean().item(),
        validation_negative_elbo=scores[0],
        validation_negative_elbo_macro=scores[1],
        validation_reconstruction=scores[2],
        validation_kl=scores[3],
        penalty=penalty,
        n_edges=int((model.prior.inclusion_probability() > 0.5).sum()),
    )
    logger.debug("%s", record)
    return record


def _is_finite(model: PerturbationVAE, record: Record) -> bool:
    weights = all(bool(torch.isfinite(p).all()) for p in model.parameters())
    no_validation = math.isnan(record.validation_kl) and math.isnan(
        record.validation_reconstruction
    )
    return weights and (no_validation or math.isfinite(record.validation_negative_elbo))


def _validate(
    model: PerturbationVAE, cells: CellSource, penalty: float
) -> tuple[float, float, float, float]:
    # the same noise at every evaluation, so that differences between them are the model's
    generator = torch.Generator(device=cells.device).manual_seed(0)
    chunk = max(1, _ELEMENTS // cells.n_genes)
    found = cells.design.new_empty(2, cells.n_cells)
    for place, batch in zip(found.split(chunk, dim=1), cells.chunks(chunk), strict=True):
        terms = model.elbo_terms(batch, _noise(batch, model, generator))
        reconstruction = terms.reconstruction - log_factorials(batch.counts)
        place.copy_(torch.stack([reconstruction, terms.kl_latent]))
    reconstruction, kl = found
    negative_elbo = kl - reconstruction + penalty
    n_labels = cells.design.shape[0]
    total = torch.zeros(n_labels, device=kl.device).index_add_(0, cells.label, negative_elbo)
    size = torch.bincount(cells.label, minlength=n_labels)
    macro = (total[size > 0] / size[size > 0]).mean().item()
    return negative_elbo.mean().item(), macro, reconstruction.mean().item(), kl.mean().item()


def _not_finite(terms: ElboTerms, index: Tensor, epoch: int) -> str:
    for name, value in terms._asdict().items():
        bad = ~torch.isfinite(value)
        if bad.any():
            cells = index[bad].tolist()[:10] if value.ndim else []
            where = f" of training cells {cells}" if cells else ""
            return (
                f"Training stopped in epoch {epoch}: the term {name}{where} is not finite. "
                "Lower learning_rate, or look at these cells (very large counts?)."
            )
    return f"Training stopped in epoch {epoch}: the loss is not finite. Lower learning_rate."
