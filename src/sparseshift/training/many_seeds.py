"""Many seeds of one configuration as one batched model: each step is one pass for all of them.

On an accelerator, where a batch of 128 cells leaves most of it idle, several seeds cost hardly more
than one. The numbers are those of fits one by one, up to the rounding of batched products.
"""

import time
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.func import functional_call

from sparseshift import compiled
from sparseshift.data.cells import Cells
from sparseshift.models.priors import ShiftNoise
from sparseshift.models.vae import Noise
from sparseshift.probability.bounds import ElboTerms
from sparseshift.training.history import History
from sparseshift.training.memory import undisturbed
from sparseshift.training.precision import products
from sparseshift.training.run import Run, learning_rates
from sparseshift.training.stacked_weights import StackedWeights
from sparseshift.training.threads import one_thread


@one_thread()
@undisturbed()
def fit_together(runs: Sequence[Run]) -> list[History]:
    """Fits several models of one shape at once; each keeps its best weights.

    Args:
        runs: fresh, with the same settings, numbers of cells and structure, and seeds of their own.

    Raises:
        TrainingError: a term of one model's objective is not finite.
    """
    first, start = runs[0], time.process_time()
    with torch.random.fork_rng(), compiled.switched_off(), products(first.config.precision):
        torch.manual_seed(first.seed)
        stack = StackedWeights(
            [run.model for run in runs],
            learning_rates(first.model, first.config),
            first.config.gradient_clip,
            eps=first.config.adam_eps,
            weight_decay=first.config.weight_decay,
        )
        peaks = torch.stack([run.peaks for run in runs]).amax(0)
        while not all(run.finished for run in runs):
            for run in runs:
                run.model.train()
            with first.model.likelihood.expecting(peaks):
                for i, index in enumerate(zip(*(run.batches() for run in runs), strict=True)):
                    _step(runs, stack, index, first.steps_done + i)
            for run in runs:
                run.end_epoch()
    for run in runs:
        run.keeper.restore()
        run.cpu_seconds = (time.process_time() - start) / len(runs)
    return [run.history() for run in runs]


def _step(runs: Sequence[Run], stack: StackedWeights, index: Sequence[Tensor], step: int) -> None:
    batches = [run.train.take(places) for run, places in zip(runs, index, strict=True)]
    noises = [
        run.model.draw_noise(batch, run.generator)
        for run, batch in zip(runs, batches, strict=True)
    ]
    leaves = stack.leaves()
    terms = _terms(runs[0], stack.by_name(leaves), batches, noises)
    total = torch.zeros((), device=leaves[0].device)
    for run, places, own in zip(runs, index, terms, strict=True):
        total = total + run.loss(own, places, step)
    gradients = torch.autograd.grad(total, leaves, materialize_grads=True)
    stack.descend(gradients, runs[0].schedule.rate(step))


def _terms(
    first: Run, weights: dict[str, Tensor], batches: Sequence[Cells], noises: Sequence[Noise]
) -> list[ElboTerms]:
    design = batches[0].design
    draws = [_tensors(noise) for noise in noises]

    def of_one(
        own: dict[str, Tensor], counts: Tensor, label: Tensor, batch: Tensor, *drawn: Tensor
    ) -> ElboTerms:
        noise = Noise(drawn[0], ShiftNoise(*drawn[1:]))
        cells = Cells(counts, label, batch, design)
        return functional_call(first.model, own, (cells, noise, first.train.n_cells))

    fields = (torch.stack([getattr(b, name) for b in batches]) for name in _OF_CELLS)
    drawn = (torch.stack(parts) for parts in zip(*draws, strict=True))
    together = torch.vmap(of_one, randomness="different")(weights, *fields, *drawn)
    return [ElboTerms(*parts) for parts in zip(*together, strict=True)]


_OF_CELLS = ("counts", "label", "batch")


def _tensors(noise: Noise) -> list[Tensor]:
    return [noise.latent, *(part for part in noise.shift if part is not None)]
