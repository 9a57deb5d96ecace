"""KL(N(mean, std^2) || N(shift, I)) averaged over the masks of the shift, compiled for the CPU by numba.

The numbers of `masked_shift.shift_moments` and the KL on them, which the tests hold it to: forward and
backward are a pass each over the cells of the batch, and only their labels' rows of the design are
read, instead of 50 operations on tables of all labels.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from sparseshift.compiled import arrays, compiled
from sparseshift.probability.elementary import f32, log

_ZERO, _HALF, _ONE = f32(0.0), f32(0.5), f32(1.0)


@compiled
def _values(design, label, inclusion, effect, mean, std, value, by_cell):  # type: ignore[no-untyped-def]
    n_perturbations, n_latents = effect.shape
    shift, variance = np.empty(n_latents, np.float32), np.empty(n_latents, np.float32)
    for n in range(label.size):
        shift[:], variance[:] = _ZERO, _ZERO
        for p in range(n_perturbations):
            dose = design[label[n], p]
            if dose != _ZERO:
                for j in range(n_latents):
                    expected = inclusion[p, j] * effect[p, j]
                    shift[j] += dose * expected
                    variance[j] += dose * dose * expected * (effect[p, j] - expected)
        total = _ZERO
        for j in range(n_latents):
            s, distance = std[n, j], mean[n, j] - shift[j]
            total += _HALF * (distance * distance + variance[j] + s * s - _ONE) - log(s)
            by_cell[0, n, j], by_cell[1, n, j] = distance, s - _ONE / s
        value[n] = total


@compiled
def _slopes(design, label, inclusion, effect, by_cell, weight, by_table, out):  # type: ignore[no-untyped-def]
    n_perturbations, n_latents = effect.shape
    for n in range(label.size):
        for j in range(n_latents):
            out[0, n, j] = weight[n] * by_cell[0, n, j]
            out[1, n, j] = weight[n] * by_cell[1, n, j]
        for p in range(n_perturbations):
            dose = design[label[n], p]
            if dose != _ZERO:
                spread = weight[n] * dose * dose
                for j in range(n_latents):
                    q, e, pull = inclusion[p, j], effect[p, j], dose * out[0, n, j]
                    by_table[0, p, j] += e * (spread * (_HALF - q) * e - pull)
                    by_table[1, p, j] += q * (spread * (_ONE - q) * e - pull)


def masked_shift_kl(
    label: Tensor, design: Tensor, inclusion: Tensor, effect: Tensor, mean: Tensor, std: Tensor
) -> Tensor:
    """The averaged KL of each cell, nats, (cells,); differentiable once by all that is not data.

    Args:
        label: row of design, (cells,) int64.
        design: how often each perturbation is in the label, (labels, perturbations).
        inclusion: q in [0, 1], (perturbations, latents).
        effect: e, (perturbations, latents).
        mean: of q(z | x), (cells, latents).
        std: of q(z | x), (cells, latents).
    """
    return _MaskedShiftKL.apply(label, design, inclusion, effect, mean, std)  # type: ignore[no-untyped-call]


class _MaskedShiftKL(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        label: Tensor,
        design: Tensor,
        inclusion: Tensor,
        effect: Tensor,
        mean: Tensor,
        std: Tensor,
    ) -> Tensor:
        value, by_cell = std.new_empty(len(label)), std.new_empty(2, *std.shape)
        of_prior = design, label, inclusion, effect
        _values(*arrays(*of_prior, mean.contiguous(), std, value, by_cell))
        ctx.save_for_backward(*of_prior, by_cell)
        return value

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        by_cell, effect = saved[-1], saved[-2]
        by_table, out = effect.new_zeros(2, *effect.shape), torch.empty_like(by_cell)
        _slopes(*arrays(*saved, grads[0].contiguous(), by_table, out))
        return None, None, *by_table, *out
