"""The Poisson of a whole cell at once: counts with means l softmax(scores), l the cell's total.

    log p(x) = sum_g x_g log m_g - l - sum_g log(x_g!),    m = l softmax(scores)

The sum of the means is l whatever the scores, so this is the multinomial of the cell's counts, but
for a term of l alone.
"""

from typing import Any

import torch
from torch import Tensor

from sparseshift.probability.softmax import log_normaliser


def softmax_log_prob(counts: Tensor, scores: Tensor) -> Tensor:
    """Log probability of each cell's counts, without -log(x!), in nats; differentiable once.

    Args:
        counts: non-negative integers as floats, (cells, genes); l is their sum.
        scores: (..., cells, genes).

    Returns:
        (..., cells).
    """
    return _SoftmaxLogProb.apply(counts, scores)[0]  # type: ignore[no-untyped-call]


class _SoftmaxLogProb(torch.autograd.Function):
    """Value and slope in the forward pass; no shape depends on data (`torch.vmap`)."""

    generate_vmap_rule = True

    @staticmethod
    def forward(counts: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        total = counts.sum(-1)
        proportion = scores.softmax(-1)
        value = (counts * scores).sum(-1) - total * log_normaliser(scores, proportion)
        slope = torch.addcmul(counts, proportion, total.unsqueeze(-1), value=-1.0)
        return value + torch.xlogy(total, total) - total, slope

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        del inputs
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(output[1])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[None, Tensor | None]:
        (slope,) = ctx.saved_tensors
        if grads[0] is None:
            return None, None
        return None, slope * grads[0].unsqueeze(-1)


def sample(log_mean: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Draws counts, shape as `log_mean`."""
    return torch.poisson(log_mean.exp(), generator=generator)
