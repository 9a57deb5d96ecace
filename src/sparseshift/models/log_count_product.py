"""log(1 + counts) W, the first layer of an encoder, without the work of multiplying zeros.

Most counts of most screens are zero. Where at most three in ten are not, sums over those, compiled for
the CPU by numba, take the place of dense products.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from sparseshift.compiled import arrays, compiled, usable
from sparseshift.probability.elementary import f32, log1p

SHARE = 0.3  # of the counts that may be non-zero: above, dense products are as fast
WIDE = 256  # genes: below, finding the zeros takes as long as it saves

_FOUR = np.uint64(4)


def log_count_product(counts: Tensor, weight: Tensor) -> Tensor:
    """log(1 + counts) W, (cells, units); differentiable by W alone.

    Args:
        counts: non-negative, (cells, genes).
        weight: W, (genes, units).
    """
    if counts.shape[1] >= WIDE and usable(counts, weight):
        rows = _rows(counts)
        if rows is not None:
            return _SparseProduct.apply(weight, *rows)  # type: ignore[no-untyped-call]
    return counts.log1p() @ weight


def _rows(counts: Tensor) -> tuple[Tensor, Tensor, Tensor] | None:
    """Where each cell's non-zero counts start, their genes and log(1 + count); None: too many."""
    n_cells, n_genes = counts.shape
    room = rows_room(n_cells, n_genes)
    start = torch.zeros(n_cells + 1, dtype=torch.int64)
    gene, value = torch.empty(room, dtype=torch.int32), counts.new_empty(room)
    return (start, gene, value) if collect(*arrays(counts, start, gene, value)) else None


def rows_room(n_cells: int, n_genes: int) -> int:
    """What `collect` needs: the counts that may be non-zero, and a row that is one too many."""
    return int(SHARE * n_cells * n_genes) + n_genes


@compiled
def collect(counts, start, gene, value):  # type: ignore[no-untyped-def]
    """Fills rows of counts that are not zero, as log(1 + count); False if there is no room for them."""
    n_cells, n_genes = counts.shape
    k = np.uint64(0)  # unsigned: numba need not look for negative indices
    for n in range(n_cells):
        row = counts[n]
        for g in range(n_genes):  # no branch: a zero is overwritten by what comes next
            gene[k] = g
            value[k] = row[g]
            k += np.uint64(row[g] != f32(0.0))
        start[n + 1] = k
        if k + np.uint64(n_genes) > value.size:
            return False
    for i in range(k):
        value[i] = log1p(value[i])
    return True


@compiled
def transpose(start, column, value, out_start, out_row, out_value):  # type: ignore[no-untyped-def]
    """Rows by columns; `out_start` comes in as zeros."""
    n_rows, n_columns = start.size - 1, out_start.size - 1
    for i in range(np.uint64(start[n_rows])):
        out_start[np.uint64(column[i] + 1)] += 1
    for c in range(n_columns):
        out_start[c + 1] += out_start[c]
    for n in range(n_rows):
        for i in range(np.uint64(start[n]), np.uint64(start[n + 1])):
            own = np.uint64(column[i])
            k = np.uint64(out_start[own])
            out_row[k] = n
            out_value[k] = value[i]
            out_start[own] += 1
    for c in range(n_columns, 0, -1):  # each start has become the next one's
        out_start[c] = out_start[c - 1]
    out_start[0] = 0


@compiled
def sums(start, column, value, table, out):  # type: ignore[no-untyped-def]
    """out[n] = sum over the i of row n of value[i] table[column[i]]."""
    # four at a time: each reads and writes out[n]
    for n in range(out.shape[0]):
        total = out[n]
        for j in range(total.size):
            total[j] = f32(0.0)
        i, last = np.uint64(start[n]), np.uint64(start[n + 1])
        while i + _FOUR <= last:
            a, b, c, d = value[i], value[i + np.uint64(1)], value[i + np.uint64(2)], value[i + np.uint64(3)]  # fmt: skip
            at = table[np.uint64(column[i])]
            bt = table[np.uint64(column[i + np.uint64(1)])]
            ct = table[np.uint64(column[i + np.uint64(2)])]
            dt = table[np.uint64(column[i + np.uint64(3)])]
            for j in range(total.size):
                total[j] += a * at[j] + b * bt[j] + c * ct[j] + d * dt[j]
            i += _FOUR
        while i < last:
            a, at = value[i], table[np.uint64(column[i])]
            for j in range(total.size):
                total[j] += a * at[j]
            i += np.uint64(1)


class _SparseProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, start: Tensor, gene: Tensor, value: Tensor) -> Tensor:
        out = weight.new_empty(len(start) - 1, weight.shape[1])
        sums(*arrays(start, gene, value, weight, out))
        ctx.save_for_backward(start, gene, value)
        ctx.n_genes = len(weight)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        rows, slope = ctx.saved_tensors, grads[0].contiguous()
        by_gene = rows[0].new_zeros(ctx.n_genes + 1), *map(torch.empty_like, rows[1:])
        transpose(*arrays(*rows, *by_gene))
        out = slope.new_empty(ctx.n_genes, slope.shape[1])
        sums(*arrays(*by_gene, slope, out))
        return out, None, None, None
