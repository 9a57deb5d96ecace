"""What is believed about how many latents a perturbation shifts: costs of inclusion probabilities.

| prior | cost, nats for the whole screen | q is |
|---|---|---|
| none | 0 | a parameter |
| l1 | alpha sum q | a parameter (sVAE, Lachapelle et al. 2022) |
| beta_map | (alpha - 1) sum softplus(logit) | a parameter under Beta(1, alpha) (sVAE+, Lopez et al. 2023) |
| bernoulli_kl | sum KL(q, p0) | a posterior, of masks with prior p0 (SAMS-VAE, Bereket et al. 2023) |
| beta_bernoulli | KL with one unknown p0 a latent, under Beta(1, alpha), integrated out | a posterior |
| edge_budget | lambda (sum q - budget), lambda by dual ascent | a parameter (Lachapelle et al. 2022) |
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sparseshift.models.warm_start.inclusion import (
    bernoulli_inclusion,
    beta_inclusion,
    budget_inclusion,
)
from sparseshift.models.warm_start.strength import alpha_by_perturbation
from sparseshift.probability import bernoulli

FREE = 4.5  # nats: the evidence of three standard errors, asked for where an edge costs nothing


class MaskPrior(nn.Module):
    """Abstract: the cost of a table of inclusion probabilities q = sigmoid(logit)."""

    def cost(self, logit: Tensor, n_cells: int) -> Tensor:
        """Nats for a screen of `n_cells` training cells, scalar.

        Args:
            logit: (perturbations, latents).
            n_cells: training cells; only the published l1 depends on it.
        """
        raise NotImplementedError

    def best_inclusion(self, effects: Tensor, cells: Tensor) -> Tensor:
        """The q that pays most, given how far a perturbation seems to shift a latent.

        Args:
            effects: mean of z of each perturbation, (perturbations, latents).
            cells: how many cells each is the mean of, (perturbations,).

        Returns:
            (perturbations, latents), in [0, 1] (`models.warm_start.inclusion`).
        """
        raise NotImplementedError

    def inclusion_of_new(self, effects: Tensor, cells: Tensor, known: Tensor) -> Tensor:
        """The q that pays most for perturbations placed after training, under what training learnt.

        Args:
            effects: mean of z of each new perturbation, (new perturbations, latents).
            cells: how many cells each is the mean of, (new perturbations,).
            known: q of the trained perturbations, (perturbations, latents).

        Returns:
            (new perturbations, latents), in [0, 1].
        """
        del known
        return self.best_inclusion(effects, cells)

    def observe(self, effects: Tensor, cells: Tensor) -> None:
        """Takes note of the effects a fit starts from; most priors have no use for them.

        Args:
            effects: of each perturbation, (perturbations, latents).
            cells: how many cells each is the mean of, (perturbations,).
        """
        del effects, cells


class NoPrior(MaskPrior):
    """Costs nothing."""

    def cost(self, logit: Tensor, n_cells: int) -> Tensor:
        """Zero."""
        del n_cells
        return logit.new_zeros(())

    def best_inclusion(self, effects: Tensor, cells: Tensor) -> Tensor:
        """1 wherever a shift is more than noise: edges are free."""
        return budget_inclusion(effects, cells, FREE)


class L1(MaskPrior):
    """alpha * sum of q: each edge costs alpha nats, whatever the size of the screen."""

    def __init__(self, alpha: float) -> None:
        super().__init__()
        self.alpha = alpha

    def cost(self, logit: Tensor, n_cells: int) -> Tensor:
        """Alpha * sum of q, nats."""
        del n_cells
        return self.alpha * logit.sigmoid().sum()

    def best_inclusion(self, effects: Tensor, cells: Tensor) -> Tensor:
        """1 where the evidence is worth alpha nats."""
        return budget_inclusion(effects, cells, max(self.alpha, FREE))


class MeanLossL1(MaskPrior):
    """alpha * mean of q added to the mean loss a cell: the published sVAE.

    Written in nats for the screen it grows with the cells and shrinks with the table; kept for the
    published numbers alone.
    """

    def __init__(self, alpha: float) -> None:
        super().__init__()
        self.alpha = alpha

    def cost(self, logit: Tensor, n_cells: int) -> Tensor:
        """n_cells * alpha * mean of q, nats."""
        return n_cells * self.alpha * logit.sigmoid().sum() / max(logit.numel(), 1)

    def best_inclusion(self, effects: Tensor, cells: Tensor) -> Tensor:
        """As L1, at its price in the mean over these cells."""
        price = float(cells.sum()) * self.alpha / max(effects.numel(), 1)
        return budget_inclusion(effects, cells, max(price, FREE))


class BetaMap(MaskPrior):
    """-log Beta(q; 1, alpha) without its constant (Lopez et al. 2023).

    -(alpha - 1) log(1 - q) = (alpha - 1) softplus(logit). Written so, its gradient stays finite
    where Beta.log_prob(sigmoid(logit)) gives NaN (logits from 17 up).

    Args:
        alpha: at least 1; of all rows.
        n_rows: of the table, if `observe` is to set alpha row by row; None: it stays.
    """

    def __init__(self, alpha: float, n_rows: int | None = None) -> None:
        super().__init__()
        self.adapts = n_rows is not None
        # of each row, as wide as a table with as many rows
        self.register_buffer("alpha", torch.full((n_rows or 1, 1), alpha), persistent=self.adapts)

    def cost(self, logit: Tensor, n_cells: int) -> Tensor:
        """Sum of (alpha - 1) softplus(logit), nats."""
        del n_cells
        return ((self.get_buffer("alpha") - 1.0) * F.softplus(logit)).sum()

    def observe(self, effects: Tensor, cells: Tensor) -> None:
        """Sets alpha of each row, if it was left open (`warm_start.strength`)."""
        if self.adapts:
            self.get_buffer("alpha").copy_(alpha_by_perturbation(effects, cells))

    def best_inclusion(self, effects: Tensor, cells: Tensor) -> Tensor:
        """max(0, 1 - 2 (alpha - 1) / (n m^2))."""
        return self._inclusion(effects, cells, self.get_buffer("alpha"))

    def inclusion_of_new(self, effects: Tensor, cells: Tensor, known: Tensor) -> Tensor:
        """The same; where alpha is set row by row, by the rows that are new."""
        del known
        alpha = alpha_by_perturbation(effects, cells) if self.adapts else self.get_buffer("alpha")
        return self._inclusion(effects, cells, alpha)

    @staticmethod
    def _inclusion(effects: Tensor, cells: Tensor, alpha: Tensor) -> Tensor:
        return beta_inclusion(effects, cells, alpha.to(effects).clamp(min=1.0 + FREE / 2.0))


class BernoulliKL(MaskPrior):
    """KL from independent masks with inclusion probability p0 (Bereket & Karaletsos 2023)."""

    def __init__(self, inclusion: float) -> None:
        super().__init__()
        self.inclusion = inclusion

    def cost(self, logit: Tensor, n_cells: int) -> Tensor:
        """Sum of KL(Bernoulli(q) || Bernoulli(p0)), nats."""
        del n_cells
        return bernoulli.kl_divergence(logit, self.inclusion).sum()

    def best_inclusion(self, effects: Tensor, cells: Tensor) -> Tensor:
        """sigmoid(logit p0 + n m^2 / 2)."""
        return bernoulli_inclusion(effects, cells, self.inclusion)


class BetaBernoulli(MaskPrior):
    """As `BernoulliKL` with an unknown density pi_j ~ Beta(1, alpha) for each latent.

    With the best q(pi_j), which is Beta(1 + s_j, alpha + P - s_j) for s_j = sum_p q_pj, the cost is
    -entropy(q) - sum_j [log B(1 + s_j, alpha + P - s_j) - log B(1, alpha)].
    """

    def __init__(self, alpha: float) -> None:
        super().__init__()
        self.alpha = alpha

    def cost(self, logit: Tensor, n_cells: int) -> Tensor:
        """Nats."""
        del n_cells
        n_rows = logit.shape[0]
        on = logit.sigmoid().sum(0)
        log_beta = (
            torch.lgamma(1.0 + on)
            + torch.lgamma(self.alpha + n_rows - on)
            - math.lgamma(1.0 + self.alpha + n_rows)
        )
        none_on = -math.log(self.alpha)  # log B(1, alpha)
        return -bernoulli.entropy(logit).sum() - (log_beta - none_on).sum()

    def best_inclusion(self, effects: Tensor, cells: Tensor) -> Tensor:
        """As `BernoulliKL` at the mean of Beta(1, alpha), the density not yet known."""
        return bernoulli_inclusion(effects, cells, 1.0 / (1.0 + self.alpha))

    def inclusion_of_new(self, effects: Tensor, cells: Tensor, known: Tensor) -> Tensor:
        """As `BernoulliKL` at the mean of each latent's posterior density, (1 + s_j) / (1 + alpha + P)."""
        density = (1.0 + known.sum(0)) / (1.0 + self.alpha + len(known))
        return bernoulli_inclusion(effects, cells, density.to(effects))


class EdgeBudget(MaskPrior):
    """At most `budget` expected edges: a Lagrangian whose multiplier rises until they are met.

    The multiplier lambda = exp(log_multiplier) is a parameter like any other; its gradient is
    turned round, so that the optimiser that descends in q ascends in lambda. The gradient of q is
    lambda at the budget, up to twice that above and down to none below: without this damping q and
    lambda chase each other in circles (Platt & Barr 1988).
    """

    damping = 4.0  # by how much lambda counts more with a surplus as large as the budget

    def __init__(self, budget: float) -> None:
        super().__init__()
        self.budget = budget
        self.log_multiplier = nn.Parameter(torch.zeros(()))

    def cost(self, logit: Tensor, n_cells: int) -> Tensor:
        """Lambda * (sum of q - budget), nats."""
        del n_cells
        surplus = logit.sigmoid().sum() - self.budget
        multiplier = self.log_multiplier.exp()
        factor = (1.0 + self.damping * surplus.detach() / self.budget).clamp(0.0, 2.0)
        descent = multiplier.detach() * factor * surplus
        ascent = multiplier * surplus.detach()
        # the value is lambda * surplus; the rest is there for its gradients
        return ascent.detach() + (descent - descent.detach()) - (ascent - ascent.detach())

    def best_inclusion(self, effects: Tensor, cells: Tensor) -> Tensor:
        """1 for the entries with the strongest evidence, as many as the budget allows."""
        evidence = (cells.unsqueeze(1) * effects.square()).flatten()
        n_edges = min(round(self.budget), len(evidence))
        chosen = torch.zeros_like(evidence)
        chosen[evidence.argsort(descending=True)[:n_edges]] = 1.0
        return chosen.view_as(effects)

    def inclusion_of_new(self, effects: Tensor, cells: Tensor, known: Tensor) -> Tensor:
        """1 where the evidence is worth the price that an edge has come to, lambda."""
        del known
        return budget_inclusion(effects, cells, max(float(self.log_multiplier.exp()), FREE))


class Strengths(NamedTuple):
    """What the options say of the cost of a mask; see `models.options.Options`.

    Attributes:
        alpha: strength of most priors; None: the number of rows, or set by what is observed.
        inclusion: p0 of bernoulli_kl.
        budget: edges allowed by edge_budget.
        n_rows: of the table.
    """

    alpha: float | None
    inclusion: float
    budget: float
    n_rows: int

    @property
    def fixed(self) -> float:
        """Alpha, or the number of rows (Lopez et al. 2023)."""
        return float(max(self.n_rows, 1)) if self.alpha is None else self.alpha


_MAKERS: dict[str, Callable[[Strengths], MaskPrior]] = {
    "none": lambda _: NoPrior(),
    "l1": lambda s: L1(s.fixed),
    "l1_mean_loss": lambda s: MeanLossL1(s.fixed),
    "beta_map": lambda s: BetaMap(s.fixed, s.n_rows if s.alpha is None else None),
    "bernoulli_kl": lambda s: BernoulliKL(s.inclusion),
    "beta_bernoulli": lambda s: BetaBernoulli(s.fixed),
    "edge_budget": lambda s: EdgeBudget(s.budget),
}
MASK_PRIORS = tuple(_MAKERS)


def mask_prior(name: str, chosen: Strengths) -> MaskPrior:
    """The prior of this name."""
    return _MAKERS[name](chosen)
