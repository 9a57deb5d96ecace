"""p(x | z): what the decoder's scores mean. Each has its own parameters, one number a gene at most.

| likelihood | x | scores |
|---|---|---|
| nb | counts | softmax over genes times the cell's total is the mean |
| poisson | counts | the same |
| gaussian | log(1 + counts scaled to 10,000) | the mean |
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from sparseshift.data.cells import CellSource
from sparseshift.models.dispersion import marginal_log_inverse_dispersion
from sparseshift.probability import gaussian, negative_binomial, poisson
from sparseshift.probability.count_term import CountPlan, plan_counts

TARGET_TOTAL = 1e4  # of log-normalised data, as is usual in the field


class Likelihood(nn.Module):
    """Abstract: the probability of cells given scores over genes.

    Densities of different data (counts, log-normalised values) cannot be compared.
    """

    def observe(self, cells: CellSource) -> None:
        """Takes starting values of its parameters from training cells; most have no use for them."""
        del cells

    @contextmanager
    def expecting(self, peak: Tensor) -> Iterator[None]:
        """A promise that counts inside are no larger, so that no batch is searched for its largest.

        Args:
            peak: largest count of each gene, (genes,).
        """
        del peak
        yield

    def log_prob(self, counts: Tensor, scores: Tensor) -> Tensor:
        """Log probability without what depends on the data alone, in nats, (..., cells).

        Args:
            counts: (cells, genes).
            scores: the decoder's output, (..., cells, genes).
        """
        raise NotImplementedError

    def prepared(self, counts: Tensor) -> Callable[[Tensor], Tensor]:
        """`log_prob` of these counts as a function of scores, for many particles without a gradient.

        Args:
            counts: (cells, genes).
        """
        return partial(self.log_prob, counts)

    def constant(self, counts: Tensor) -> Tensor:
        """What `log_prob` leaves out, in nats, (cells,): add it to compare with anything."""
        raise NotImplementedError

    def log_expression(self, scores: Tensor) -> Tensor:
        """Natural log of expected expression up to a constant a cell, shape as scores."""
        return scores.log_softmax(-1)

    def sample(
        self, scores: Tensor, totals: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draws of x, (cells, genes).

        Args:
            scores: (cells, genes).
            totals: total count of each cell, (cells, 1).
            generator: of the draws.
        """
        raise NotImplementedError


class NegativeBinomial(Likelihood):
    """x ~ NB(mean l softmax(scores), inverse dispersion theta), theta one a gene."""

    def __init__(self, n_genes: int) -> None:
        super().__init__()
        self.log_inverse_dispersion = nn.Parameter(torch.zeros(n_genes))
        self.plan: CountPlan | None = None

    @torch.no_grad()
    def observe(self, cells: CellSource) -> None:
        """Starts from the dispersions of independent genes (`models.dispersion`)."""
        self.log_inverse_dispersion.copy_(marginal_log_inverse_dispersion(cells))

    @contextmanager
    def expecting(self, peak: Tensor) -> Iterator[None]:
        """Plans where the count term is looked up."""
        self.plan = plan_counts(peak.unsqueeze(0))
        try:
            yield
        finally:
            self.plan = None

    def log_prob(self, counts: Tensor, scores: Tensor) -> Tensor:
        """Without -log(x!), nats."""
        return negative_binomial.softmax_log_prob(
            counts, scores, self.log_inverse_dispersion, self.plan
        )

    def prepared(self, counts: Tensor) -> Callable[[Tensor], Tensor]:
        """What no particle changes is computed once."""
        return negative_binomial.softmax_log_prob_of(
            counts, self.log_inverse_dispersion, self.plan
        )

    def constant(self, counts: Tensor) -> Tensor:
        """-log(x!) summed over genes, nats, (cells,)."""
        return -negative_binomial.log_factorials(counts)

    def sample(
        self, scores: Tensor, totals: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Counts, (cells, genes)."""
        log_mean = totals.log() + scores.log_softmax(-1)
        return negative_binomial.sample(log_mean, self.log_inverse_dispersion, generator)


class Poisson(Likelihood):
    """x ~ Poisson(l softmax(scores))."""

    def log_prob(self, counts: Tensor, scores: Tensor) -> Tensor:
        """Without -log(x!), nats."""
        return poisson.softmax_log_prob(counts, scores)

    def constant(self, counts: Tensor) -> Tensor:
        """-log(x!) summed over genes, nats, (cells,)."""
        return -negative_binomial.log_factorials(counts)

    def sample(
        self, scores: Tensor, totals: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Counts, (cells, genes)."""
        return poisson.sample(totals.log() + scores.log_softmax(-1), generator)


class Gaussian(Likelihood):
    """log(1 + x / l * 10,000) ~ N(scores, sigma^2), sigma one a gene.

    A density of log-normalised values, not a probability of counts.
    """

    def __init__(self, n_genes: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(n_genes))

    def log_prob(self, counts: Tensor, scores: Tensor) -> Tensor:
        """All of it, nats."""
        totals = counts.sum(-1, keepdim=True)
        values = (counts * (TARGET_TOTAL / totals)).log1p()
        return gaussian.log_prob(values, scores, self.log_scale)

    def constant(self, counts: Tensor) -> Tensor:
        """Zero, (cells,)."""
        return counts.new_zeros(counts.shape[0])

    def log_expression(self, scores: Tensor) -> Tensor:
        """The scores themselves: log(1 + expression)."""
        return scores

    def sample(
        self, scores: Tensor, totals: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Normalised values taken back to the scale of counts, (cells, genes), not whole numbers."""
        values = gaussian.sample(scores, self.log_scale, generator)
        return values.clamp(min=0.0).expm1() * (totals / TARGET_TOTAL)


_MAKERS: dict[str, Callable[[int], Likelihood]] = {
    "nb": NegativeBinomial,
    "poisson": lambda _: Poisson(),
    "gaussian": Gaussian,
}
LIKELIHOODS = tuple(_MAKERS)


def likelihood(name: str, n_genes: int) -> Likelihood:
    """The likelihood of this name, with fresh parameters."""
    return _MAKERS[name](n_genes)
