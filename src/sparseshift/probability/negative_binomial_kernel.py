"""The negative binomial of a cell in one pass over its genes, compiled for the CPU by numba.

The same numbers as the torch operations of `negative_binomial` and `count_term`, which the tests
hold them to, in float32: 30 operations that each read and write the whole batch become one that
reads it once.

exp, log and log1p are written out (Cephes' polynomials, errors below 2e-7 relative): calls into a
mathematical library would keep the compiler from working on 16 genes at once.
"""

import numpy as np
import torch
from torch import Tensor

from sparseshift.compiled import compiled, inlined

_f = np.float32
_LOG2E = _f(1.44269504)
_LN2_HIGH, _LN2_LOW = _f(0.693359375), _f(-2.12194440e-4)
_HALF, _ONE, _TWO = _f(0.5), _f(1.0), _f(2.0)
_EXP = tuple(_f(c) for c in (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1))  # fmt: skip
_LOG = tuple(_f(c) for c in (7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1))  # fmt: skip
_LOWEST = _f(-87.0)
_BIAS, _MANTISSA, _ROOT_HALF = np.int32(127), np.int32(23), np.int32(0x3F3504F3)
_SQRT2_LESS_1 = _f(0.41421356)


@inlined
def _exp(x):  # type: ignore[no-untyped-def]  # x <= 0
    x = max(x, _LOWEST)
    n = np.int32(x * _LOG2E - _HALF)  # towards 0: to the nearest for x <= 0
    r = x - _f(n) * _LN2_HIGH - _f(n) * _LN2_LOW
    p = _EXP[0]
    p = p * r + _EXP[1]
    p = p * r + _EXP[2]
    p = p * r + _EXP[3]
    p = p * r + _EXP[4]
    p = p * r + _EXP[5]
    return (p * r * r + r + _ONE) * np.int32((n + _BIAS) << _MANTISSA).view(np.float32)


@inlined
def _log_of(e, f):  # type: ignore[no-untyped-def]  # log((1 + f) 2^e)
    z = f * f
    p = _LOG[0]
    p = p * f + _LOG[1]
    p = p * f + _LOG[2]
    p = p * f + _LOG[3]
    p = p * f + _LOG[4]
    p = p * f + _LOG[5]
    p = p * f + _LOG[6]
    p = p * f + _LOG[7]
    p = p * f + _LOG[8]
    return f + (f * z * p - _HALF * z + e * _LN2_LOW) + e * _LN2_HIGH


@inlined
def _log(x):  # type: ignore[no-untyped-def]  # x > 0, normal
    bits = _f(x).view(np.int32)
    e = np.int32((bits - _ROOT_HALF) >> _MANTISSA)
    m = np.int32(bits - np.int32(e << _MANTISSA)).view(np.float32)
    return _log_of(_f(e), m - _ONE)


@inlined
def _log1p(x):  # type: ignore[no-untyped-def]  # x >= 0; x itself where 1 + x would lose its digits
    bits = _f(_ONE + x).view(np.int32)
    e = np.int32((bits - _ROOT_HALF) >> _MANTISSA)
    m = np.int32(bits - np.int32(e << _MANTISSA)).view(np.float32)
    small = x < _SQRT2_LESS_1
    return _log_of(_f(0.0) if small else _f(e), x if small else m - _ONE)


_V0, _V1, _V2 = _f(0.08333315111), _f(-0.0027639879), _f(0.00063040376)
_S0, _S1, _S2 = _f(0.0833321922), _f(-0.0082459851), _f(0.0029067994)


@inlined
def _stirling(x, t, log_lift):  # type: ignore[no-untyped-def]
    # count_term._from_series at shift 2: value and slope of log G(x + t) - x log t, up to terms of t
    start = t + _TWO
    log_ratio = _log1p(x / start)
    w = x + start
    inverse = _ONE / w
    square = inverse * inverse
    first, second = _ONE + x / t, _ONE + x / (t + _ONE)
    value = (_V0 + square * (_V1 + square * _V2)) * inverse + (w - _HALF) * log_ratio
    value = value + x * (log_lift - _ONE) - _log(first * second)
    slope = log_ratio - (square * (_S0 + square * (_S1 + square * _S2)) + _HALF * inverse)
    return value, t * slope - _ONE / first - t / (t + _ONE) / second


@inlined
def _exponentials(counts, scores, out):  # type: ignore[no-untyped-def]  # of one cell: a softmax, undivided
    total, largest = _f(0.0), scores[0]
    for g in range(counts.size):
        total += counts[g]
        largest = max(largest, scores[g])
    norm = _f(0.0)
    for g in range(counts.size):
        e = _exp(scores[g] - largest)
        out[g] = e
        norm += e
    return total, largest, norm


@compiled
def _slopes(counts, scores, t, value, by_score, by_log_t, scratch):  # type: ignore[no-untyped-def]
    n_cells, n_genes = counts.shape
    value_0, slope_0, lift = scratch[0], scratch[1], scratch[2]
    for g in range(n_genes):
        lift[g] = _log1p(_TWO / t[g])
        value_0[g], slope_0[g] = _stirling(_f(0.0), t[g], lift[g])
    for n in range(n_cells):
        total, largest, norm = _exponentials(counts[n], scores[n], by_score[n])
        scale = total / norm
        log_p, pull = _f(0.0), _f(0.0)
        mean_slope = scratch[3]
        for g in range(n_genes):
            x, mean = counts[n, g], by_score[n, g] * scale
            ratio = mean / t[g]
            log1p = _log1p(ratio)
            by_mean = (x - mean) / (_ONE + ratio)
            count_value, count_slope = _stirling(x, t[g], lift[g])
            log_p += x * (scores[n, g] - largest - log1p) - t[g] * log1p + count_value - value_0[g]
            by_log_t[n, g] = count_slope - slope_0[g] - by_mean - t[g] * log1p
            mean_slope[g] = by_mean
            pull += by_mean
        pull /= norm
        for g in range(n_genes):
            by_score[n, g] = mean_slope[g] - by_score[n, g] * pull
        if total > _f(0.0):
            log_p += total * (_log(total) - _log(norm))
        value[n] = log_p


@compiled
def _rates(counts, scores, t, value):  # type: ignore[no-untyped-def]
    n_rows, n_genes = scores.shape
    n_cells = counts.shape[0]
    row = np.empty(n_genes, np.float32)
    for i in range(n_rows):
        n = i % n_cells
        total, largest, norm = _exponentials(counts[n], scores[i], row)
        scale = total / norm
        log_p = _f(0.0)
        for g in range(n_genes):
            log1p = _log1p(row[g] * scale / t[g])
            log_p += counts[n, g] * (scores[i, g] - largest - log1p) - t[g] * log1p
        if total > _f(0.0):
            log_p += total * (_log(total) - _log(norm))
        value[i] = log_p


def slopes(counts: Tensor, scores: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Log probability of each cell without -log(x!), and its slopes.

    Args:
        counts: (cells, genes).
        scores: (cells, genes).
        t: inverse dispersion, (genes,).

    Returns:
        (cells,) nats; by scores, and by log t, each (cells, genes).
    """
    value, by_score, by_log_t = (
        counts.new_empty(len(counts)),
        torch.empty_like(scores),
        torch.empty_like(scores),
    )
    scratch = counts.new_empty(4, counts.shape[1])
    _slopes(
        *(
            part.detach().numpy()
            for part in (counts, scores, t, value, by_score, by_log_t, scratch)
        )
    )
    return value, by_score, by_log_t


def rates(counts: Tensor, scores: Tensor, t: Tensor) -> Tensor:
    """The part of the log probability that depends on the mean, (..., cells), nats.

    Args:
        counts: (cells, genes).
        scores: (..., cells, genes).
        t: inverse dispersion, (genes,).
    """
    value = scores.new_empty(scores.shape[:-1])
    flat = scores.detach().view(-1, scores.shape[-1])
    _rates(counts.numpy(), flat.numpy(), t.detach().numpy(), value.view(-1).numpy())
    return value
