"""The negative binomial in its mean and inverse-dispersion form, for a whole cell at once.

x ~ NB(mean m, inverse dispersion t) has variance m + m^2 / t:

    log p(x) = [log G(x + t) - log G(t) - x log t]     count_term: no mean
             + x log m - (x + t) log(1 + m / t)        the only part with a mean
             - log G(x + 1)                            log_factorials: no parameter

A cell's means are l softmax(scores), where l is its total. `softmax_log_prob` takes the scores, so
that softmax, likelihood and gradients are made together: one exp and one log1p a gene, no Gamma
function. Beyond t = e^60, where it is Poisson to the last digit, t is taken to be e^60.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sparseshift import compiled
from sparseshift.probability import negative_binomial_kernel as kernel
from sparseshift.probability.count_term import (
    CountPlan,
    count_sums,
    plan_counts,
    slope_by_gene,
)
from sparseshift.probability.softmax import log_normaliser

_LARGEST_LOG = 60.0  # e^60, e^-60 and their products with counts stay inside float32


def softmax_log_prob(
    counts: Tensor,
    scores: Tensor,
    log_inverse_dispersion: Tensor,
    plan: CountPlan | None = None,
) -> Tensor:
    """Log probability of each cell's counts with means l softmax(scores), without -log(x!), in nats.

    Differentiable once by scores and dispersion; without a gradient, in two tensors like the scores.

    Args:
        counts: non-negative integers as floats, (cells, genes); l is their sum.
        scores: (..., cells, genes), for example with particles in front.
        log_inverse_dispersion: (genes,).
        plan: of the counts; None: made from them.

    Returns:
        (..., cells).
    """
    # not whether they require a gradient: inside `torch.vmap` tensors do not say so
    if torch.is_grad_enabled():
        counts = counts.expand(scores.shape).flatten(0, -2)
        flat = scores.flatten(0, -2)
        if compiled.usable(counts, flat, log_inverse_dispersion):
            value = _Compiled.apply(counts, flat, log_inverse_dispersion)  # type: ignore[no-untyped-call]
        else:
            plan = plan_counts(counts) if plan is None else plan
            value = _SoftmaxLogProb.apply(counts, flat, log_inverse_dispersion, plan)[0]  # type: ignore[no-untyped-call]
        return value.view(scores.shape[:-1])
    return softmax_log_prob_of(counts, log_inverse_dispersion, plan)(scores)


def softmax_log_prob_of(
    counts: Tensor, log_inverse_dispersion: Tensor, plan: CountPlan | None = None
) -> Callable[[Tensor], Tensor]:
    """`softmax_log_prob` of these counts as a function of scores, without a gradient.

    Args:
        counts: (cells, genes).
        log_inverse_dispersion: (genes,).
        plan: of the counts; None: made from them.
    """
    with torch.no_grad():
        t, totals = inverse_dispersion(log_inverse_dispersion), counts.sum(-1)
        of_counts = count_term(counts, log_inverse_dispersion, plan)
    return lambda scores: of_counts + _rates(counts, totals, scores, t)


def count_term(
    counts: Tensor, log_inverse_dispersion: Tensor, plan: CountPlan | None = None
) -> Tensor:
    """Sum over genes of log G(x + t) - log G(t) - x log t, nats, (cells,), without a gradient."""
    plan = plan_counts(counts) if plan is None else plan
    with torch.no_grad():
        return count_sums(counts, inverse_dispersion(log_inverse_dispersion), plan).value


def log_factorials(counts: Tensor) -> Tensor:
    """Sum over genes of log(x!), nats, (cells,)."""
    return torch.lgamma(counts + 1.0).sum(-1)


def inverse_dispersion(log_inverse_dispersion: Tensor) -> Tensor:
    """The inverse dispersion from its logarithm, which is held within 60 of 0."""
    return log_inverse_dispersion.clamp(-_LARGEST_LOG, _LARGEST_LOG).exp()


@torch.no_grad()
def _rates(counts: Tensor, totals: Tensor, scores: Tensor, t: Tensor) -> Tensor:
    if compiled.usable(counts, totals, scores, t):
        return kernel.rates(counts, totals, scores, t)
    ratio = scores.softmax(-1)  # becomes m / t, then its log1p, in place
    log_scale = torch.xlogy(totals, totals) - totals * log_normaliser(scores, ratio)
    ratio.mul_(totals.unsqueeze(-1) / t).log1p_()
    return log_scale + (scores - ratio).mul_(counts).sum(-1) - ratio @ t


class _Compiled(torch.autograd.Function):
    """`_SoftmaxLogProb` by a kernel."""

    @staticmethod
    def forward(
        ctx: Any, counts: Tensor, scores: Tensor, log_inverse_dispersion: Tensor
    ) -> Tensor:
        t = inverse_dispersion(log_inverse_dispersion)
        value, by_score, by_log_t = kernel.slopes(counts, scores, t)
        ctx.save_for_backward(by_score, by_log_t)
        return value

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor, Tensor]:
        by_score, by_log_t = ctx.saved_tensors
        return None, by_score * grads[0].unsqueeze(-1), grads[0] @ by_log_t


class _SoftmaxLogProb(torch.autograd.Function):
    """Value and all slopes in the forward pass; backward only weighs them by the cells' gradients.

    What backward needs are outputs of forward, and no shape depends on data, so that
    `torch.vmap` can batch it.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(
        counts: Tensor, scores: Tensor, log_inverse_dispersion: Tensor, plan: CountPlan
    ) -> tuple[Tensor, ...]:
        t = inverse_dispersion(log_inverse_dispersion)
        total = counts.sum(-1)
        proportion = scores.softmax(-1)
        log_norm = log_normaliser(scores, proportion)
        mean = proportion * total.unsqueeze(-1)
        ratio = mean * t.reciprocal()
        log1p = ratio.log1p()
        sums = count_sums(counts, t, plan)
        value = (scores - log1p).mul_(counts).sum(-1)
        value = value - log1p @ t + torch.xlogy(total, total) - total * log_norm + sums.value
        # d log p / d log m; as (x + t) m / (m + t) - x its digits would cancel for large t
        by_mean = (counts - mean).div_(ratio.add_(1.0))
        by_score = torch.addcmul(by_mean, proportion, by_mean.sum(-1, keepdim=True), value=-1.0)
        return value, by_score, by_mean, log1p, sums.table, sums.series

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        _, _, log_inverse_dispersion, plan = inputs
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)  # else zeros are made for all that is no output
        ctx.save_for_backward(log_inverse_dispersion, *output[1:])
        ctx.plan = plan

    @staticmethod
    def backward(
        ctx: Any, *grads: Tensor | None
    ) -> tuple[None, Tensor | None, Tensor | None, None]:
        log_t, by_score, by_mean, log1p, table, series = ctx.saved_tensors
        weight = grads[0]
        if weight is None:
            return None, None, None, None
        by_dispersion = (
            slope_by_gene(weight, table, series, ctx.plan)
            - weight @ by_mean
            - inverse_dispersion(log_t) * (weight @ log1p)
        )
        return None, by_score * weight.unsqueeze(-1), by_dispersion, None


def sample(
    log_mean: Tensor, log_inverse_dispersion: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """Draws counts as Poisson with a gamma-distributed rate, shape as `log_mean`."""
    inverse_dispersion = log_inverse_dispersion.exp().expand_as(log_mean).contiguous()
    gamma = torch._standard_gamma(inverse_dispersion, generator=generator)
    return torch.poisson(gamma * (log_mean - log_inverse_dispersion).exp(), generator=generator)
