"""The negative binomial in its mean and inverse-dispersion form, split by what it depends on.

x ~ NB(mean m, inverse dispersion t) has variance m + m^2 / t. With d = log m - log t,

    log p(x) = [log G(x + t) - log G(t) - x log t]     count_term: no mean, zero where x < 2
             + x log m - (x + t) softplus(d)           rate_term: no special function
             - log G(x + 1)                            log_factorials: no parameter

so that special functions are evaluated once a non-zero count, not once a particle, and log(x!)
not at all in training. Sums over genes have hand-written gradients: one pass forward, one back.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def log_prob(counts: Tensor, log_mean: Tensor, log_inverse_dispersion: Tensor) -> Tensor:
    """Log probability of each cell's counts, summed over genes, in nats.

    Args:
        counts: non-negative integers as floats, (cells, genes).
        log_mean: (..., cells, genes).
        log_inverse_dispersion: (genes,).

    Returns:
        (..., cells).
    """
    return (
        rate_term(counts, log_mean, log_inverse_dispersion)
        + count_term(counts, log_inverse_dispersion)
        - log_factorials(counts)
    )


def softmax_log_prob(counts, scores, log_inverse_dispersion):
    log_mean = counts.sum(-1, keepdim=True).log() + scores.log_softmax(-1)
    return rate_term(counts, log_mean, log_inverse_dispersion) + count_term(
        counts, log_inverse_dispersion
    )


def log_factorials(counts: Tensor) -> Tensor:
    """Sum over genes of log(x!), nats, (cells,)."""
    return torch.lgamma(counts + 1.0).sum(-1)


def count_term(counts: Tensor, log_inverse_dispersion: Tensor) -> Tensor:
    """Sum over genes of log G(x + t) - log G(t) - x log t, nats, (cells,)."""
    return _CountTerm.apply(counts, log_inverse_dispersion)  # type: ignore[no-untyped-call]


def rate_term(counts: Tensor, log_mean: Tensor, log_inverse_dispersion: Tensor) -> Tensor:
    """Sum over genes of x log m - (x + t) softplus(log m - log t), nats, (..., cells)."""
    return _RateTerm.apply(counts, log_mean, log_inverse_dispersion)  # type: ignore[no-untyped-call]


class _CountTerm(torch.autograd.Function):
    """The sum over k < x of log(1 + k / t): zero for x = 0 and x = 1, so most counts cost nothing.

    In float64, because for large t the three parts cancel to a small rest.
    """

    @staticmethod
    def forward(ctx: Any, counts: Tensor, log_inverse_dispersion: Tensor) -> Tensor:
        cell, gene = (counts > 1.0).nonzero(as_tuple=True)
        x = counts[cell, gene].double()
        log_t = log_inverse_dispersion.double()
        t = log_t.exp()
        shifted = x + t[gene]
        value = torch.lgamma(shifted) - torch.lgamma(t)[gene] - x * log_t[gene]
        ctx.save_for_backward(cell, gene, x, t, shifted)
        total = torch.zeros(counts.shape[0], dtype=torch.float64, device=counts.device)
        return total.index_add(0, cell, value).to(counts.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor]:
        cell, gene, x, t, shifted = ctx.saved_tensors
        slope = torch.digamma(shifted) - torch.digamma(t)[gene] - x / t[gene]
        total = torch.zeros_like(t).index_add(0, gene, slope * grads[0].double()[cell])
        return None, (total * t).to(grads[0].dtype)


class _RateTerm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, counts: Tensor, log_mean: Tensor, log_inverse_dispersion: Tensor
    ) -> Tensor:
        t = log_inverse_dispersion.exp()
        softplus = F.softplus(log_mean - log_inverse_dispersion)
        value = (counts * log_mean).sub_((counts + t) * softplus).sum(-1)
        ctx.save_for_backward(counts, log_mean, log_inverse_dispersion, softplus)
        return value

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor, Tensor]:
        counts, log_mean, log_inverse_dispersion, softplus = ctx.saved_tensors
        grad = grads[0].unsqueeze(-1)
        t = log_inverse_dispersion.exp()
        # the mean's share (x + t) sigmoid(d) also reaches t, through d = log m - log t
        pull = torch.sigmoid(log_mean - log_inverse_dispersion).mul_(counts + t) * grad
        by_gene = (pull - t * softplus * grad).flatten(0, -2).sum(0)
        return None, counts * grad - pull, by_gene


def sample(
    log_mean: Tensor, log_inverse_dispersion: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """Draws counts as Poisson with a gamma-distributed rate, shape as `log_mean`."""
    inverse_dispersion = log_inverse_dispersion.exp().expand_as(log_mean).contiguous()
    gamma = torch._standard_gamma(inverse_dispersion, generator=generator)
    return torch.poisson(gamma * (log_mean - log_inverse_dispersion).exp(), generator=generator)
