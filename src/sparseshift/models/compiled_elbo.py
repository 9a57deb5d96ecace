"""Encoder, draw, decoder and likelihood of a batch in one call, and their gradients in another.

A training step of 128 cells is 200 operations of torch, which spends as long between them as in them. This is
the ELBO of `PerturbationVAE.elbo_terms`, which the tests hold it to, as loops that call each other, compiled for
the CPU by numba. The prior, a few small tables, stays with torch.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from sparseshift.compiled import compiled, usable
from sparseshift.data.cells import Cells
from sparseshift.models.layer_loops import Layers, back_through_layers, floats_kept, through_layers
from sparseshift.models.likelihoods import NegativeBinomial
from sparseshift.models.log_count_product import WIDE, collect, rows_room, sums, transpose
from sparseshift.models.networks import (
    LOG_VARIANCE,
    Affine,
    Hidden,
    HiddenLayer,
    running_statistics,
)
from sparseshift.models.vae import Noise, PerturbationVAE
from sparseshift.probability.bounds import ElboTerms
from sparseshift.probability.elementary import exp, f32, log1p
from sparseshift.probability.negative_binomial import inverse_dispersion
from sparseshift.probability.negative_binomial_kernel import SCRATCH, slopes_of_cells

_ZERO, _HALF, _ONE = f32(0.0), f32(0.5), f32(1.0)
_LEAST, _MOST = (f32(bound) for bound in LOG_VARIANCE)


class _Batch(NamedTuple):
    counts: np.ndarray
    batch: np.ndarray
    noise: np.ndarray


class _Terms(NamedTuple):
    """What autograd sees of a batch, or the slopes by it."""

    log_prob: np.ndarray
    mean: np.ndarray
    std: np.ndarray


class _Kept(NamedTuple):
    """What forward leaves for backward."""

    start: np.ndarray
    gene: np.ndarray
    value: np.ndarray
    logs: np.ndarray
    first: np.ndarray
    of_encoder: np.ndarray
    moments: np.ndarray
    inputs: np.ndarray
    products: np.ndarray
    of_decoder: np.ndarray
    scores: np.ndarray
    by_score: np.ndarray
    by_log_t: np.ndarray
    scratch: np.ndarray


@compiled
def _multiply_logs(counts, weight, kept):  # type: ignore[no-untyped-def]
    """The encoder's first products; whether they were made from the counts that are not zero."""
    if counts.shape[1] >= WIDE and collect(counts, kept.start, kept.gene, kept.value):
        sums(kept.start, kept.gene, kept.value, weight, kept.first)
        return True
    for i in range(counts.shape[0]):
        for g in range(counts.shape[1]):
            kept.logs[i, g] = log1p(counts[i, g])
    np.dot(kept.logs, weight, kept.first)
    return False


@compiled
def _multiply_logs_back(slope, sparse, kept, by_weight):  # type: ignore[no-untyped-def]
    if not sparse:
        np.dot(kept.logs.T, slope, by_weight)
        return
    start = np.zeros(by_weight.shape[0] + 1, np.int64)
    row, value = np.empty_like(kept.gene), np.empty_like(kept.value)
    transpose(kept.start, kept.gene, kept.value, start, row, value)
    sums(start, row, value, slope, by_weight)


@compiled
def _forward(batch, encoder, decoder, t, normalisation, kept, terms):  # type: ignore[no-untyped-def]
    n, n_latents = batch.noise.shape
    momentum, eps = normalisation
    moments, inputs = kept.moments, kept.inputs
    sparse = _multiply_logs(batch.counts, encoder.first, kept)
    through_layers(kept.first, encoder, momentum, eps, kept.of_encoder, moments)
    inputs[:, n_latents:] = _ZERO
    for i in range(n):
        for j in range(n_latents):
            half = _HALF * min(max(moments[i, n_latents + j], _LEAST), _MOST)
            small = exp(-abs(half))
            terms.std[i, j] = small if half < _ZERO else _ONE / small
            terms.mean[i, j] = moments[i, j]
            inputs[i, j] = terms.mean[i, j] + terms.std[i, j] * batch.noise[i, j]
        if inputs.shape[1] > n_latents:
            inputs[i, n_latents + batch.batch[i]] = _ONE
    np.dot(inputs, decoder.first, kept.products)
    through_layers(kept.products, decoder, momentum, eps, kept.of_decoder, kept.scores)
    slopes_of_cells(
        batch.counts, kept.scores, t, terms.log_prob, kept.by_score, kept.by_log_t, kept.scratch
    )
    return sparse


@compiled
def _backward(slopes, std, noise, sparse, networks, kept, of_parameters):  # type: ignore[no-untyped-def]
    encoder, decoder = networks
    of_encoder, of_decoder, of_log_t = of_parameters
    n, n_latents = noise.shape
    of_log_t[:] = _ZERO
    for i in range(n):
        weight = slopes.log_prob[i]
        for g in range(of_log_t.size):
            kept.scores[i, g] = weight * kept.by_score[i, g]  # the scores have served
            of_log_t[g] += weight * kept.by_log_t[i, g]
    by_products = np.empty_like(kept.products)
    back_through_layers(kept.scores, decoder, kept.of_decoder, of_decoder, by_products)
    np.dot(kept.inputs.T, by_products, of_decoder.first)
    by_inputs, by_moments = np.empty_like(kept.inputs), np.empty_like(kept.moments)
    np.dot(by_products, decoder.first.T, by_inputs)
    for i in range(n):
        for j in range(n_latents):
            by_moments[i, j] = slopes.mean[i, j] + by_inputs[i, j]
            inside = _LEAST < kept.moments[i, n_latents + j] < _MOST
            by_std = slopes.std[i, j] + by_inputs[i, j] * noise[i, j]
            by_moments[i, n_latents + j] = _HALF * std[i, j] * by_std if inside else _ZERO
    by_first = np.empty_like(kept.first)
    back_through_layers(by_moments, encoder, kept.of_encoder, of_encoder, by_first)
    _multiply_logs_back(by_first, sparse, kept, of_encoder.first)


class CompiledElbo:
    """`model.elbo_terms` in training mode, for a model that `fits`.

    Gradients are written to where `parameter.grad` is, if it is anywhere: an optimiser that keeps them there
    has nothing to copy.

    Traps: a batch is to be done with before the next one, since there is one place for what forward leaves
    for backward. Parameters and running statistics must stay where they are in memory.

    Args:
        model: whose parameters are read and whose running statistics move.
    """

    def __init__(self, model: PerturbationVAE) -> None:
        self.model = model
        encoder = _layers(model.encoder.hidden, model.encoder.head)
        decoder = _layers(model.decoder.hidden, model.decoder.scores)
        learnt = [
            network._replace(norms=tuple(norm[:2] for norm in network.norms))
            for network in (encoder, decoder)
        ]
        log_t = model.likelihood.get_parameter("log_inverse_dispersion")
        self.parameters = [*learnt[0].flat(), *learnt[1].flat(), log_t]
        self.gradients = [
            torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters
        ]
        place = dict(zip(map(id, self.parameters), self.gradients, strict=True))
        self.networks = encoder.each(_array), decoder.each(_array)
        self.slopes = (
            *(network.each(lambda p: _array(place[id(p)])) for network in learnt),
            _array(self.gradients[-1]),
        )
        norm = _norm(model.encoder.hidden.layers[0])
        self.normalisation = f32(norm.momentum), f32(norm.eps)
        self.n_batches_done = 0
        self._memory = np.empty(0, np.float32)
        self._kept: dict[int, _Kept] = {}

    @staticmethod
    def fits(model: PerturbationVAE) -> bool:
        """Whether there is a compiler, and loops for all that this model is made of."""
        hidden = model.encoder.hidden, model.decoder.hidden
        layers = [layer for part in hidden for layer in part.layers]
        return (
            model.posterior_kind == "cells"
            and isinstance(model.likelihood, NegativeBinomial)
            and not model.decoder.held
            and all(len(part.layers) > 0 for part in hidden)
            and all(isinstance(layer.norm, nn.BatchNorm1d) for layer in layers)
            and all(layer.dropout == 0.0 for layer in layers)
            and usable(*model.encoder.parameters(), *model.decoder.parameters())
        )

    def __call__(self, cells: Cells, noise: Noise, n_training_cells: int = 1) -> ElboTerms:
        """See `PerturbationVAE.elbo_terms`."""
        prior = self.model.prior
        shift = prior.shift(cells, noise.shift)
        log_prob, mean, std = _OfCells.apply(self, cells, noise.latent, *self.parameters)  # type: ignore[no-untyped-call]
        return ElboTerms(log_prob, shift.kl_divergence(mean, std), prior.cost(n_training_cells))

    def kept(self, n_cells: int, n_genes: int) -> _Kept:
        """Where a batch leaves what backward needs: parts of the same memory for batches of any size."""
        if n_cells not in self._kept:
            self._kept[n_cells] = self._carve(n_cells, n_genes)
        return self._kept[n_cells]

    def _carve(self, n: int, n_genes: int) -> _Kept:
        encoder, decoder = self.networks
        of_encoder, of_decoder = (list(map(len, network.weights)) for network in self.networks)
        room = rows_room(n, n_genes) if n_genes >= WIDE else 0
        shapes: dict[str, tuple[int, ...]] = {
            "value": (room,),
            "logs": (n, n_genes),
            "first": (n, of_encoder[0]),
            "of_encoder": (floats_kept(n, of_encoder),),
            "moments": (n, len(encoder.bias)),
            "inputs": (n, len(decoder.first)),
            "products": (n, of_decoder[0]),
            "of_decoder": (floats_kept(n, of_decoder),),
            "scores": (n, n_genes),
            "by_score": (n, n_genes),
            "by_log_t": (n, n_genes),
            "scratch": (SCRATCH, n_genes),
        }
        sizes = [math.prod(shape) for shape in shapes.values()]
        if self._memory.size < sum(sizes):
            self._memory = np.empty(sum(sizes), np.float32)
            self._kept.clear()
        parts = np.split(self._memory[: sum(sizes)], np.cumsum(sizes)[:-1])
        named = zip(shapes.items(), parts, strict=True)
        return _Kept(
            np.zeros(n + 1, np.int64),
            np.empty(room, np.int32),
            **{name: part.reshape(shape) for (name, shape), part in named},
        )


class _OfCells(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, loops: CompiledElbo, cells: Cells, latent: Tensor, *parameters: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        log_prob = latent.new_empty(len(latent))
        mean, std = torch.empty_like(latent), torch.empty_like(latent)
        ctx.kept = loops.kept(*cells.counts.shape)
        ctx.noise, ctx.std = latent.numpy(), std.numpy()
        ctx.sparse = _forward(
            _Batch(cells.counts.numpy(), cells.batch.numpy(), ctx.noise),
            *loops.networks,
            inverse_dispersion(parameters[-1]).numpy(),
            loops.normalisation,
            ctx.kept,
            _Terms(log_prob.numpy(), mean.numpy(), ctx.std),
        )
        loops.n_batches_done += 1
        ctx.loops, ctx.number = loops, loops.n_batches_done
        return log_prob, mean, std

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        loops = ctx.loops
        if ctx.number != loops.n_batches_done:
            raise RuntimeError("Another batch has overwritten what this gradient needs.")
        _backward(
            _Terms(*(grad.contiguous().numpy() for grad in grads)),
            ctx.std,
            ctx.noise,
            ctx.sparse,
            loops.networks,
            ctx.kept,
            loops.slopes,
        )
        return None, None, None, *loops.gradients


def _layers(hidden: Hidden, head: Affine) -> Layers:
    first, *others = hidden.layers
    norms = [_norm(layer) for layer in hidden.layers]
    return Layers(
        first.weight,
        (*(layer.weight for layer in others), head.weight),
        tuple((norm.weight, norm.bias, *running_statistics(norm)) for norm in norms),
        head.bias,
    )


def _norm(layer: HiddenLayer) -> nn.BatchNorm1d:
    if not isinstance(layer.norm, nn.BatchNorm1d):  # unreachable in a model that fits
        raise TypeError("The layer has no batch normalisation.")
    return layer.norm


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().numpy()
