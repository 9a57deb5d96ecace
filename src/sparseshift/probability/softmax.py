"""The normaliser of a softmax, from what the softmax has already worked out."""

from torch import Tensor


def log_normaliser(scores: Tensor, proportions: Tensor) -> Tensor:
    """Log of the sum over genes of exp(scores), without a second exp a gene.

    Args:
        scores: (..., genes).
        proportions: their softmax; the largest is at least 1 / genes, so its log keeps its digits.

    Returns:
        (...,).
    """
    return scores.amax(-1) - proportions.amax(-1).log()
