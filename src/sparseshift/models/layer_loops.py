"""Batch-normalised ReLU layers and the linear head after them, as loops compiled for the CPU by numba.

The products are BLAS's, called from the loops; what lies between them is three passes over a layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from sparseshift.compiled import compiled, inlined
from sparseshift.probability.elementary import f32

_ZERO, _ONE = f32(0.0), f32(1.0)


class Layers(NamedTuple):
    """Hidden layers and a head, or the slopes by what is learnt of them: tensors, and arrays for loops.

    Attributes:
        first: weights before the first layer, (inputs, width).
        weights: those after each layer, (width, next width); the last are the head's.
        norms: of each layer scale, shift, running mean and running variance, each (width,); of slopes the
            first two.
        bias: of the head.
    """

    first: Any
    weights: tuple[Any, ...]
    norms: tuple[tuple[Any, ...], ...]
    bias: Any

    def each(self, change: Callable[[Any], Any]) -> Layers:
        """The same with every part changed."""
        norms = tuple(tuple(map(change, norm)) for norm in self.norms)
        return Layers(
            change(self.first), tuple(map(change, self.weights)), norms, change(self.bias)
        )

    def flat(self) -> list[Any]:
        """All parts."""
        return [
            self.first,
            *self.weights,
            *(part for norm in self.norms for part in norm),
            self.bias,
        ]


def floats_kept(n_cells: int, widths: Sequence[int]) -> int:
    """The size of `work`: of each layer normalised products, activations, 1 / standard deviation."""
    return sum((2 * n_cells + 1) * width for width in widths)


@inlined
def _kept(work, start, n, width):  # type: ignore[no-untyped-def]
    normal, active = start + n * width, start + 2 * n * width
    return (
        work[start:normal].reshape(n, width),
        work[normal:active].reshape(n, width),
        work[active : active + width],
    )


@inlined
def _take_moments(x, norm, momentum, eps, centre, inverse):  # type: ignore[no-untyped-def]
    n, width = x.shape
    centre[:], spread = _ZERO, np.zeros(width, np.float32)
    for i in range(n):
        for j in range(width):
            centre[j] += x[i, j]
    for j in range(width):
        centre[j] /= f32(n)
    for i in range(n):
        for j in range(width):
            distance = x[i, j] - centre[j]
            spread[j] += distance * distance
    for j in range(width):
        inverse[j] = _ONE / np.sqrt(spread[j] / f32(n) + eps)
        norm[2][j] += momentum * (centre[j] - norm[2][j])
        norm[3][j] += momentum * (spread[j] / f32(n - 1) - norm[3][j])


@inlined
def _activate(x, norm, centre, kept):  # type: ignore[no-untyped-def]
    normal, active, inverse = kept
    scale, shift = norm[0], norm[1]
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            own = (x[i, j] - centre[j]) * inverse[j]
            normal[i, j] = own
            y = own * scale[j] + shift[j]
            active[i, j] = _ZERO if y <= _ZERO else y  # NaN stays NaN


@compiled
def through_layers(x, layers, momentum, eps, work, out):  # type: ignore[no-untyped-def]
    """The head's output, given x, the products of the first layer; running statistics move."""
    n, n_layers, place = x.shape[0], len(layers.weights), 0
    for k in range(n_layers):
        width, n_out = layers.weights[k].shape
        kept, centre = _kept(work, place, n, width), np.empty(width, np.float32)
        _take_moments(x, layers.norms[k], momentum, eps, centre, kept[2])
        _activate(x, layers.norms[k], centre, kept)
        place += (2 * n + 1) * width
        # products of the next layer go where their normalised form will be
        x = out if k == n_layers - 1 else _kept(work, place, n, n_out)[0]
        np.dot(kept[1], layers.weights[k], x)
    for i in range(n):
        for j in range(layers.bias.size):
            out[i, j] += layers.bias[j]


@inlined
def _deactivate(slope, scale, kept, of_norm):  # type: ignore[no-untyped-def]
    # slope: by activations, becomes that by products
    normal, active, inverse = kept
    by_scale, by_shift = of_norm
    n, width = slope.shape
    by_scale[:], by_shift[:] = _ZERO, _ZERO
    for i in range(n):
        for j in range(width):
            own = _ZERO if active[i, j] == _ZERO else slope[i, j]
            slope[i, j] = own
            by_shift[j] += own
            by_scale[j] += own * normal[i, j]
    each = _ONE / f32(n)
    for i in range(n):
        for j in range(width):
            pull = (by_shift[j] + normal[i, j] * by_scale[j]) * each
            slope[i, j] = scale[j] * inverse[j] * (slope[i, j] - pull)


@compiled
def back_through_layers(slope, layers, work, slopes, by_products):  # type: ignore[no-untyped-def]
    """Slopes by all but `first`, and by the products of the first layer, from that by the output."""
    n, n_layers, place = slope.shape[0], len(layers.weights), 0
    slopes.bias[:] = _ZERO
    for i in range(n):
        for j in range(slopes.bias.size):
            slopes.bias[j] += slope[i, j]
    for k in range(n_layers):
        place += (2 * n + 1) * layers.weights[k].shape[0]
    for k in range(n_layers - 1, -1, -1):
        width = layers.weights[k].shape[0]
        place -= (2 * n + 1) * width
        kept = _kept(work, place, n, width)
        np.dot(kept[1].T, slope, slopes.weights[k])
        before = by_products if k == 0 else np.empty((n, width), np.float32)
        np.dot(slope, layers.weights[k].T, before)
        _deactivate(before, layers.norms[k][0], kept, slopes.norms[k])
        slope = before
