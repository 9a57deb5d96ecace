"""Inverse dispersions of genes taken one by one, by maximum likelihood given their means."""

import torch
from torch import Tensor

from sparseshift.data.cells import CellSource, chunk_size
from sparseshift.probability.negative_binomial import softmax_log_prob

PSEUDO_COUNT = 0.5  # of a gene: Jeffreys' prior of a Poisson rate
_RANGE = (-12.0, 14.0)  # of log theta; at the upper end it is Poisson, or as good as
_START_ERROR = 0.1  # in log theta, enough for a start


@torch.no_grad()
def marginal_log_inverse_dispersion(cells: CellSource) -> Tensor:
    """Log theta of each gene if all cells had the same proportions, (genes,) float32.

    What varies between cells counts as dispersion too: theta is a lower bound of what a model that
    explains some of it needs, and where training should start. Rare genes that come in bursts have
    theta = e^-7; a start at 1 is further from that than Adam goes in a few thousand steps.
    """
    counts = cells.design.new_zeros(cells.n_genes, dtype=torch.float64)
    for batch in cells.chunks(chunk_size(cells)):
        counts += batch.counts.double().sum(0)
    proportion = (counts + PSEUDO_COUNT) / (counts + PSEUDO_COUNT).sum()
    of_labels = proportion.log().expand(cells.design.shape[0], -1)
    return log_inverse_dispersion(cells, of_labels, _START_ERROR).float()


def log_inverse_dispersion(
    cells: CellSource, log_proportion: Tensor, error: float = 0.005
) -> Tensor:
    """Log theta where the likelihood's slope changes sign, within [-12, 14], (genes,) float64.

    By bisection of all genes at once.

    Args:
        cells: their labels codes of the rows of log_proportion.
        log_proportion: of each label, (labels, genes) float64.
        error: largest, in log theta.
    """
    low, high = (log_proportion.new_full((cells.n_genes,), end) for end in _RANGE)
    while (high - low).max() > 2.0 * error:
        middle = 0.5 * (low + high)
        rising = _slope(cells, log_proportion, middle) > 0
        low, high = torch.where(rising, middle, low), torch.where(rising, high, middle)
    return 0.5 * (low + high)


def _slope(cells: CellSource, log_proportion: Tensor, log_theta: Tensor) -> Tensor:
    """Of the log likelihood of all cells by log theta, (genes,)."""
    slope = torch.zeros_like(log_theta)
    for batch in cells.chunks(chunk_size(cells)):
        scores = log_proportion.to(batch.counts)[batch.label]
        free = log_theta.to(batch.counts).requires_grad_()
        with torch.enable_grad():
            value = softmax_log_prob(batch.counts, scores, free).sum()
        slope += torch.autograd.grad(value, free)[0]
    return slope
