"""Each gene a negative binomial of its own: the log likelihood that needs no latent variable.

x_g ~ NB(mean l p_g, inverse dispersion theta_g), genes independent given the cell's total l. It is the
likelihood of the models, with proportions p of a perturbation in the place of latents and decoder, so that
its log likelihood and their bound are of the same counts, constants included.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from sparseshift.data.cells import CellSource, chunk_size
from sparseshift.models.dispersion import PSEUDO_COUNT, log_inverse_dispersion
from sparseshift.probability.negative_binomial import log_factorials, softmax_log_prob_of


class PooledCells(NamedTuple):
    """What sets of cells say of their proportions.

    Attributes:
        counts: summed over cells, (..., genes) float64.
        total: of all cells together, (...,).
        squared: sum over cells of their squared totals, (...,).
    """

    counts: Tensor
    total: Tensor
    squared: Tensor


class IndependentGenes(NamedTuple):
    """What training cells say of any perturbation, by gene, float64.

    Attributes:
        mean: pi, the mean of proportions over training perturbations, (genes,), sums to 1.
        log_inverse_dispersion: log theta, (genes,).
        between: tau^2, the variance over perturbations of p / pi, (genes,).
    """

    mean: Tensor
    log_inverse_dispersion: Tensor
    between: Tensor

    def shrunk(self, support: PooledCells) -> Tensor:
        """Proportions in support cells, shrunk to the perturbed mean by empirical Bayes, (..., genes).

        p / pi has mean 1 and variance tau^2 over perturbations; s^2 is the variance of r = S / (T pi),
        counts S and total T pooled over the support cells:

            p = pi (1 + tau^2 / (tau^2 + s^2) (r - 1)),   s^2 = 1 / (T pi) + sum l^2 / (T^2 theta)

        then divided by its sum. The posterior mean under a Gamma prior where theta is infinite, elsewhere
        the best linear predictor (Bühlmann 1967).
        """
        ratio = support.counts / (support.total.clamp(min=1.0).unsqueeze(-1) * self.mean)
        weight = self.between / (self.between + self._within(support))
        proportion = self.mean * (1.0 + weight * (ratio - 1.0))
        return proportion / proportion.sum(-1, keepdim=True)

    def log_prob_of(self, counts: Tensor) -> Callable[[Tensor], Tensor]:
        """Log likelihood of cells given their totals, as a function of proportions.

        Args:
            counts: (cells, genes), whole numbers as floats.

        Returns:
            A function of proportions, (genes,) or (cells, genes), that returns (cells,), nats, constants
            included.
        """
        prepared = softmax_log_prob_of(counts, self.log_inverse_dispersion.to(counts))
        constant = log_factorials(counts)

        def log_prob(proportion: Tensor) -> Tensor:
            scores = proportion.log().to(counts).expand(counts.shape).contiguous()
            return prepared(scores) - constant

        return log_prob

    def _within(self, support: PooledCells) -> Tensor:
        """s^2 of `shrunk`, (..., genes); infinite without a cell."""
        total, theta = support.total.unsqueeze(-1), self.log_inverse_dispersion.exp()
        share = support.squared.unsqueeze(-1) / total.clamp(min=1.0).square()
        return 1.0 / (total * self.mean) + share / theta


def pool(counts: Tensor) -> PooledCells:
    """Sums over these cells, (cells, genes)."""
    counts = counts.double()
    totals = counts.sum(-1)
    return PooledCells(counts.sum(0), totals.sum(), totals.square().sum())


def support_proportion(support: PooledCells) -> Tensor:
    """Proportions in support cells, half a count added to every gene, (..., genes).

    Without it a gene that the support cells lack would make any cell that has it impossible.
    """
    n_genes = support.counts.shape[-1]
    total = support.total + n_genes * PSEUDO_COUNT
    return (support.counts + PSEUDO_COUNT) / total.unsqueeze(-1)


@torch.no_grad()
def fit_independent_genes(cells: CellSource, perturbed: Tensor) -> IndependentGenes:
    """Perturbed mean, dispersion and spread between perturbations, from training cells.

    Every perturbation counts the same in the mean. theta maximises the likelihood of all training cells,
    control included, given the proportions of their label. tau^2 is found by the method of moments,
    perturbations weighted by the inverse of s^2 as by DerSimonian and Laird (1986): a gene's own value, with
    that of all genes together counted as one more perturbation. Neither is below 0; all are 0 where fewer
    than two perturbations were trained.

    Args:
        cells: of training, their labels codes of the rows of their design.
        perturbed: which labels are not the control, (labels,) bool; at least one of them has cells.
    """
    pooled = _pool_by_label(cells)
    chosen = perturbed.to(cells.device) & (pooled.total > 0)
    trained = PooledCells(*(part[chosen] for part in pooled))
    mean = (trained.counts / trained.total.unsqueeze(-1)).mean(0)
    # a gene that no perturbation shows is rare, not impossible
    mean = mean + PSEUDO_COUNT / trained.total.sum()
    mean = mean / mean.sum()
    own_mean = (pooled.counts + mean) / (pooled.total + 1.0).unsqueeze(-1)
    theta = log_inverse_dispersion(cells, own_mean.log())
    fitted = IndependentGenes(mean, theta, torch.zeros_like(mean))
    return fitted._replace(between=_fit_between(fitted, trained))


def _pool_by_label(cells: CellSource) -> PooledCells:
    n_labels = cells.design.shape[0]
    counts = cells.design.new_zeros(n_labels, cells.n_genes, dtype=torch.float64)
    total, squared = torch.zeros_like(counts[:, 0]), torch.zeros_like(counts[:, 0])
    for batch in cells.chunks(chunk_size(cells)):
        totals = batch.counts.double().sum(-1)
        counts.index_add_(0, batch.label, batch.counts.double())
        total.index_add_(0, batch.label, totals)
        squared.index_add_(0, batch.label, totals.square())
    return PooledCells(counts, total, squared)


def _fit_between(fitted: IndependentGenes, trained: PooledCells) -> Tensor:
    n = len(trained.total)
    if n < 2:
        return torch.zeros_like(fitted.mean)
    precision = 1.0 / fitted._within(trained)
    ratio = trained.counts / (trained.total.unsqueeze(-1) * fitted.mean)
    # the mean is of the same perturbations: one degree of freedom
    excess = (precision * (ratio - 1.0).square()).sum(0) * (n / (n - 1)) - n
    weight = precision.sum(0)
    own, common = (excess / weight).clamp(min=0.0), (excess.sum() / weight.sum()).clamp(min=0.0)
    return ((n - 1) * own + common) / n
