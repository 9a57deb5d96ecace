"""The part of the negative binomial that depends on a count and its gene, not on the mean.

    f(x, t) = log G(x + t) - log G(t) - x log t = sum over k < x of log(1 + k / t)
    x + df / d log t                            = sum over k < x of t / (t + k)

Neither is computed as a difference of Gamma functions, which keeps nothing when t is large: genes
of small counts read both from a table of running sums, exact and free of cancellation, the
others take Stirling's series, shifted so that it holds for small t too.
"""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

LARGEST_IN_TABLE = 31  # a row of the table costs as much as the series for half a cell


class CountPlan(NamedTuple):
    """Which genes read the table: a matter of speed, not of values.

    Made once for all cells of a screen it spares every batch the look at its largest counts, which
    `torch.vmap` could not take.

    Attributes:
        small: genes whose counts are at most `largest`, int64; None: all genes.
        large: the other genes, int64; None: all genes.
        largest: count of a small gene.
    """

    small: Tensor | None
    large: Tensor | None
    largest: int


class CountSums(NamedTuple):
    """The sum of f over genes, and its slopes by gene.

    Attributes:
        value: (cells,), nats.
        table: f and x + df / d log t of the plan's small genes, (cells, small genes, 2).
        series: x + df / d log t of the plan's large genes, (cells, large genes).
    """

    value: Tensor
    table: Tensor
    series: Tensor


def plan_counts(counts: Tensor) -> CountPlan:
    """The plan for these counts, (..., genes), and for any that are no larger gene by gene."""
    peak = counts.flatten(0, -2).amax(0) if counts.numel() else counts.new_zeros(counts.shape[-1:])
    is_large = peak > LARGEST_IN_TABLE
    n_large = int(is_large.sum())
    none = torch.empty(0, dtype=torch.int64, device=counts.device)
    if n_large == is_large.numel():
        return CountPlan(none, None, 0)
    if n_large == 0:
        return CountPlan(None, none, int(peak.max()))
    small = (~is_large).nonzero().squeeze(1)
    return CountPlan(small, is_large.nonzero().squeeze(1), int(peak[small].max()))


def count_sums(counts: Tensor, t: Tensor, plan: CountPlan) -> CountSums:
    """The count term summed over genes.

    Args:
        counts: (cells, genes).
        t: inverse dispersion, (genes,), positive and finite.
        plan: of these counts.
    """
    if plan.small is None:
        value, table = _from_table(counts, t, plan.largest)
        return CountSums(value, table, counts[:, :0])
    if plan.large is None:
        value, series = _from_series(counts, t)
        return CountSums(value, counts[:, :0].unsqueeze(-1).expand(-1, -1, 2), series)
    small, large = (counts.index_select(1, genes) for genes in (plan.small, plan.large))
    value, table = _from_table(small, t.index_select(0, plan.small), plan.largest)
    rest, series = _from_series(large, t.index_select(0, plan.large))
    return CountSums(value + rest, table, series)


def slope_by_gene(weight: Tensor, table: Tensor, series: Tensor, plan: CountPlan) -> Tensor:
    """Sum over cells of weight times (x + df / d log t), (genes,).

    Args:
        weight: (cells,).
        table: of `CountSums`.
        series: of `CountSums`.
        plan: the sums were made with.
    """
    if plan.large is None:
        return weight @ series
    # as one matrix of interleaved values and slopes: taking the slopes apart would copy them
    small = (weight @ table.flatten(1))[1::2]
    if plan.small is None:
        return small
    total = torch.cat([small, weight @ series])
    return total.index_select(0, torch.cat([plan.small, plan.large]).argsort())


def _from_table(counts: Tensor, t: Tensor, largest: int) -> tuple[Tensor, Tensor]:
    n_genes = t.shape[0]
    k = torch.arange(-1, largest, dtype=t.dtype, device=t.device).unsqueeze(1)
    counted, k = k >= 0, k.clamp(min=0.0)  # the row of count 0 is zero
    value, slope = (k / t).log1p_().cumsum(0), (counted * t).div_(k + t).cumsum(0)
    gene = torch.arange(n_genes, dtype=counts.dtype, device=counts.device)
    # int32 by way of floats, exact below 2^24: a quarter of the time of int64
    place = torch.add(gene, counts, alpha=n_genes).to(torch.int32).flatten()
    if torch.compiler.is_compiling():  # no code is generated for complex numbers
        read = (part.flatten().index_select(0, place) for part in (value, slope))
        found = torch.stack([part.view(counts.shape) for part in read], -1)
        return found[..., 0].sum(-1), found
    # value and slope in one complex number: one look-up fetches both
    both = torch.complex(value, slope).flatten().index_select(0, place).view(counts.shape)
    return torch.view_as_real(both.sum(-1))[..., 0], torch.view_as_real(both)


class _Stirling(NamedTuple):
    """Coefficients of what Stirling's series adds, in powers of 1 / w^2, for w >= shift.

    log G(w) = (w - 1/2) log w - w + log(2 pi) / 2 + sum_k value[k] / w^(2k + 1)
    digamma(w) = log w - 1 / 2w - sum_k slope[k] / w^(2k + 2)
    """

    shift: int
    value: tuple[float, ...]
    slope: tuple[float, ...]


_SERIES = {
    # fitted at Chebyshev nodes of 1 / w^2: errors below 8e-8 and 3e-7 for w >= 2
    torch.float32: _Stirling(
        2,
        (0.08333315111, -0.0027639879, 0.00063040376),
        (0.0833321922, -0.0082459851, 0.0029067994),
    ),
    # Bernoulli numbers B_2k / (2k (2k - 1)) and B_2k / 2k: errors below 1e-15 for w >= 12
    torch.float64: _Stirling(
        12,
        (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360),
        (1 / 12, -1 / 120, 1 / 252, -1 / 240, 1 / 132, -691 / 32760),
    ),
}


@lru_cache
def _constant(value: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A number as a tensor: torch converts a Python number anew in every operation."""
    return torch.tensor(value, dtype=dtype, device=device)


def _from_series(counts: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    # log G(y) = log G(y + s) - log y - ... - log(y + s - 1), and the series at w = y + s; the
    # terms of t alone are what a last row, of zeros, comes to
    shift, value_terms, slope_terms = _SERIES[counts.dtype]
    one = _constant(1.0, counts.dtype, counts.device)
    counts = F.pad(counts, (0, 0, 0, 1))
    shifted = [torch.add(t, one, alpha=i) for i in range(shift + 1)]  # t, t + 1, ..., t + s
    log_ratio = (counts / shifted[-1]).log1p_()
    w = counts + shifted[-1]
    inverse = w.reciprocal()
    square = inverse.square()
    value = torch.addcmul(_polynomial(square, value_terms) * inverse, w, log_ratio)
    value = torch.add(value, log_ratio, alpha=-0.5)
    value = torch.addcmul(value, counts, (shifted[-1] / t).log_().sub_(one))
    slope = torch.addcmul(log_ratio, _polynomial(square, slope_terms), square, value=-1.0)
    slope = torch.add(slope, inverse, alpha=-0.5).mul_(t)
    product = None
    for start in shifted[:-1]:
        inverse = start.reciprocal()
        factor = torch.addcmul(one, counts, inverse)  # (y + i) / (t + i)
        slope = torch.addcdiv(slope, t * inverse, factor, value=-1.0)
        product = factor if product is None else product.mul_(factor)
    if product is not None:
        value.sub_(product.log_())
    total = value.sum(-1)
    return total[:-1] - total[-1], slope[:-1].sub_(slope[-1])


def _polynomial(x: Tensor, coefficients: tuple[float, ...]) -> Tensor:
    *lower, last, highest = (_constant(c, x.dtype, x.device) for c in coefficients)
    total = torch.addcmul(last, x, highest)
    for constant in reversed(lower):
        total = torch.addcmul(constant, total, x)
    return total
