"""The negative binomial of a cell in one pass over its genes, compiled for the CPU by numba.

The same numbers as the torch operations of `negative_binomial` and `count_term`, which the tests
hold them to, in float32: 30 operations that each read and write the whole batch become one that
reads it once.
"""

import numpy as np
import torch
from torch import Tensor

from sparseshift.compiled import arrays, compiled, inlined
from sparseshift.probability.elementary import exp, f32, log, log1p

SCRATCH = 7  # floats a gene
_HALF, _ONE, _TWO = f32(0.5), f32(1.0), f32(2.0)
_V0, _V1, _V2 = f32(0.08333315111), f32(-0.0027639879), f32(0.00063040376)
_S0, _S1, _S2 = f32(0.0833321922), f32(-0.0082459851), f32(0.0029067994)


@inlined
def _stirling(x, t, by_t, by_t1, by_t2, log_lift):  # type: ignore[no-untyped-def]
    # count_term._from_series at shift 2: value and slope of log G(x + t) - x log t, up to terms of t;
    # by_t, by_t1, by_t2 are 1 / t, 1 / (t + 1), 1 / (t + 2): divisions cost more than the rest
    log_ratio = log1p(x * by_t2)
    w = x + t + _TWO
    inverse = _ONE / w
    square = inverse * inverse
    first, second = _ONE + x * by_t, _ONE + x * by_t1
    both = first * second
    value = (_V0 + square * (_V1 + square * _V2)) * inverse + (w - _HALF) * log_ratio
    value = value + x * (log_lift - _ONE) - log(both)
    slope = log_ratio - (square * (_S0 + square * (_S1 + square * _S2)) + _HALF * inverse)
    return value, t * slope - (second + t * by_t1 * first) / both


@inlined
def _exponentials(counts, scores, out):  # type: ignore[no-untyped-def]  # of one cell: a softmax, undivided
    total, largest = f32(0.0), scores[0]
    for g in range(counts.size):
        total += counts[g]
        largest = max(largest, scores[g])
    norm = f32(0.0)
    for g in range(counts.size):
        e = exp(scores[g] - largest)
        out[g] = e
        norm += e
    return total, largest, norm


@compiled
def slopes_of_cells(counts, scores, t, value, by_score, by_log_t, scratch):  # type: ignore[no-untyped-def]
    """`slopes` into arrays that are there; scratch is (SCRATCH, genes)."""
    n_cells, n_genes = counts.shape
    value_0, slope_0, lift, mean_slope = scratch[0], scratch[1], scratch[2], scratch[3]
    by_t, by_t1, by_t2 = scratch[4], scratch[5], scratch[6]
    for g in range(n_genes):
        by_t[g], by_t1[g], by_t2[g] = _ONE / t[g], _ONE / (t[g] + _ONE), _ONE / (t[g] + _TWO)
        lift[g] = log1p(_TWO * by_t[g])
        value_0[g], slope_0[g] = _stirling(f32(0.0), t[g], by_t[g], by_t1[g], by_t2[g], lift[g])
    for n in range(n_cells):
        total, largest, norm = _exponentials(counts[n], scores[n], by_score[n])
        scale = total / norm
        log_p, pull = f32(0.0), f32(0.0)
        for g in range(n_genes):
            x, mean = counts[n, g], by_score[n, g] * scale
            ratio = mean * by_t[g]
            excess = log1p(ratio)
            by_mean = (x - mean) / (_ONE + ratio)
            gained, slope = _stirling(x, t[g], by_t[g], by_t1[g], by_t2[g], lift[g])
            log_p += x * (scores[n, g] - largest - excess) - t[g] * excess + gained - value_0[g]
            by_log_t[n, g] = slope - slope_0[g] - by_mean - t[g] * excess
            mean_slope[g] = by_mean
            pull += by_mean
        pull /= norm
        for g in range(n_genes):
            by_score[n, g] = mean_slope[g] - by_score[n, g] * pull
        if total > f32(0.0):
            log_p += total * (log(total) - log(norm))
        value[n] = log_p


@compiled
def rates_of_rows(counts, totals, scores, bias, t, start, value):  # type: ignore[no-untyped-def]
    """`rates` of scores + bias into value[start:]; row r of scores, (rows, genes), is of cell (start + r) % n."""
    n_cells, n_genes = counts.shape
    own, row = np.empty(n_genes, np.float32), np.empty(n_genes, np.float32)
    by_t = np.empty(n_genes, np.float32)
    for g in range(n_genes):
        by_t[g] = _ONE / t[g]
    for r in range(scores.shape[0]):
        n, largest = (start + r) % n_cells, scores[r, 0] + bias[0]
        for g in range(n_genes):
            own[g] = scores[r, g] + bias[g]
            largest = max(largest, own[g])
        norm = f32(0.0)
        for g in range(n_genes):
            row[g] = exp(own[g] - largest)
            norm += row[g]
        scale, lift = f32(0.0), -largest
        if totals[n] > f32(0.0):
            scale = totals[n] / norm
            lift += log(scale)
        log_p = f32(0.0)
        for g in range(n_genes):
            excess = log1p(row[g] * scale * by_t[g])
            # log m - log(1 + m / t) first: sums of either alone are so large that digits are lost
            log_p += counts[n, g] * (own[g] + lift - excess) - t[g] * excess
        value[start + r] = log_p


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
    scratch = counts.new_empty(SCRATCH, counts.shape[1])
    slopes_of_cells(*arrays(counts, scores, t, value, by_score, by_log_t, scratch))
    return value, by_score, by_log_t


def rates(counts: Tensor, totals: Tensor, scores: Tensor, t: Tensor) -> Tensor:
    """Sum over genes of x log m - (x + t) log(1 + m / t), (..., cells), nats.

    Args:
        counts: x, (cells, genes).
        totals: of each cell, (cells,).
        scores: (..., cells, genes).
        t: inverse dispersion, (genes,).
    """
    value, bias = scores.new_empty(scores.shape[:-1]), torch.zeros_like(t)
    parts = counts, totals, scores.view(-1, scores.shape[-1]), bias, t
    rates_of_rows(*arrays(*parts), 0, *arrays(value.view(-1)))
    return value
