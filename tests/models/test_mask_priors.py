"""What inclusion probabilities cost, each prior against a reference."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from scipy import integrate, special
from scipy import stats as scipy_stats
from torch import Tensor
from torch.distributions import Bernoulli, Beta
from torch.distributions import kl_divergence as kl_of_torch

from sparseshift.models.mask_priors import (
    L1,
    MASK_PRIORS,
    BernoulliKL,
    BetaBernoulli,
    BetaMap,
    EdgeBudget,
    MaskPrior,
    MeanLossL1,
    NoPrior,
    Strengths,
    mask_prior,
)
from sparseshift.models.warm_start.inclusion import beta_inclusion
from sparseshift.models.warm_start.strength import alpha_by_perturbation
from sparseshift.probability.bernoulli import entropy

LOGIT = torch.linspace(-12.0, 12.0, 12, dtype=torch.float64).reshape(3, 4)
KINDS = {
    "none": NoPrior,
    "l1": L1,
    "l1_mean_loss": MeanLossL1,
    "beta_map": BetaMap,
    "bernoulli_kl": BernoulliKL,
    "beta_bernoulli": BetaBernoulli,
    "edge_budget": EdgeBudget,
}


def prior_of(name: str, alpha: float = 3.0) -> MaskPrior:
    """The prior of this name."""
    return mask_prior(name, Strengths(alpha, 0.05, 2.0, len(LOGIT))).double()


def test_names_are_those_of_the_table() -> None:
    assert tuple(KINDS) == MASK_PRIORS
    for name, kind in KINDS.items():
        assert type(prior_of(name)) is kind


@pytest.mark.parametrize("name", MASK_PRIORS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_costs_and_gradients_are_finite_at_far_logits(name: str, dtype: torch.dtype) -> None:
    prior = prior_of(name, alpha=100.0).to(dtype)
    ends = torch.tensor([[-50.0, 50.0, -17.5, 17.5]], dtype=dtype, requires_grad=True)
    cost = prior.cost(ends, 100)
    assert torch.isfinite(cost)
    if cost.requires_grad:
        cost.backward()
        assert ends.grad is not None
        assert torch.isfinite(ends.grad).all()


@pytest.mark.parametrize("name", MASK_PRIORS)
def test_order_of_rows_and_of_latents_does_not_matter(name: str) -> None:
    prior = prior_of(name)
    cost = prior.cost(LOGIT, 70)
    assert cost.shape == ()
    torch.testing.assert_close(prior.cost(LOGIT.flip(0), 70), cost)
    torch.testing.assert_close(prior.cost(LOGIT.flip(1), 70), cost)


@pytest.mark.parametrize("name", [name for name in MASK_PRIORS if name != "l1_mean_loss"])
def test_cost_does_not_depend_on_the_cells(name: str) -> None:
    assert prior_of(name).cost(LOGIT, 10).item() == prior_of(name).cost(LOGIT, 10_000).item()


@pytest.mark.parametrize("alpha", [1.0, 7.0])
def test_l1_is_alpha_an_expected_edge(alpha: float) -> None:
    expected = alpha * special.expit(LOGIT.numpy()).sum()
    assert L1(alpha).cost(LOGIT, 10).item() == pytest.approx(expected)


@pytest.mark.parametrize("n_cells", [1, 64, 5000])
def test_the_published_l1_adds_alpha_times_the_mean_to_a_mean_loss(n_cells: int) -> None:
    per_cell = MeanLossL1(7.0).cost(LOGIT, n_cells) / n_cells
    assert per_cell.item() == pytest.approx(7.0 * special.expit(LOGIT.numpy()).mean())
    assert MeanLossL1(7.0).cost(LOGIT[:0], n_cells).item() == 0.0


@pytest.mark.parametrize("alpha", [1.0, 2.5, 100.0])
def test_beta_map_is_the_negative_log_prior_up_to_its_constant(alpha: float) -> None:
    one, a = torch.tensor(1.0).double(), torch.tensor(alpha).double()
    log_prior = Beta(one, a).log_prob(LOGIT.sigmoid()).sum()
    torch.testing.assert_close(BetaMap(alpha).cost(LOGIT, 10), 12 * a.log() - log_prior)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradient_of_beta_map_is_right_at_far_logits(dtype: torch.dtype) -> None:
    logit = torch.tensor([[-50.0, 50.0, -17.5, 17.5]], dtype=dtype, requires_grad=True)
    BetaMap(100.0).cost(logit, 10).backward()
    torch.testing.assert_close(logit.grad, 99.0 * logit.detach().sigmoid())


@pytest.mark.parametrize("inclusion", [0.001, 0.3])
def test_bernoulli_kl_is_that_of_torch(inclusion: float) -> None:
    p0 = Bernoulli(torch.tensor(inclusion, dtype=torch.float64))
    expected = kl_of_torch(Bernoulli(logits=LOGIT), p0).sum()
    torch.testing.assert_close(BernoulliKL(inclusion).cost(LOGIT, 10), expected)


class TestBetaBernoulli:
    """One unknown density a latent, pi ~ Beta(1, alpha), integrated out."""

    logit = torch.tensor([[-1.0, 0.5], [2.0, -0.3], [0.2, -3.0]], dtype=torch.float64)
    alpha = 4.0

    def cost(self) -> float:
        """By the closed form."""
        return BetaBernoulli(self.alpha).cost(self.logit, 10).item()

    def bound(self, j: int, a: float, b: float) -> float:
        """KL(q(m) Beta(a, b) || p(m, pi)) of latent j, masks enumerated, pi by quadrature."""
        q = self.logit[:, j].sigmoid().numpy()
        entropy = -(q * np.log(q) + (1.0 - q) * np.log(1.0 - q)).sum()
        posterior, prior = scipy_stats.beta(a, b), scipy_stats.beta(1.0, self.alpha)

        def integrand(pi: float) -> float:
            log_p = prior.logpdf(pi)
            for bits in product((0, 1), repeat=len(q)):
                weight = np.prod([x if on else 1.0 - x for on, x in zip(bits, q, strict=True)])
                log_p += weight * sum(math.log(pi if on else 1.0 - pi) for on in bits)
            return float(posterior.pdf(pi) * (posterior.logpdf(pi) - log_p))

        return integrate.quad(integrand, 0.0, 1.0)[0] - entropy

    def test_closed_form_is_the_kl_at_the_best_posterior_of_the_density(self) -> None:
        best = 0.0
        for j in range(2):
            on = self.logit[:, j].sigmoid().sum().item()
            a, b = 1.0 + on, self.alpha + 3.0 - on
            at_best = self.bound(j, a, b)
            for da, db in ((0.4, 0.0), (-0.4, 0.0), (0.0, 0.4), (0.0, -0.4), (0.5, 0.5)):
                assert self.bound(j, a + da, b + db) > at_best + 1e-4
            best += at_best
        assert self.cost() == pytest.approx(best, abs=1e-6)

    def marginal_kl(self) -> float:
        """KL(q(m) || p(m)) with the density summed out of the prior, masks enumerated."""
        total = 0.0
        for j in range(2):
            q = self.logit[:, j].sigmoid().numpy()
            for bits in product((0, 1), repeat=3):
                weight = np.prod([x if on else 1.0 - x for on, x in zip(bits, q, strict=True)])
                s = sum(bits)
                log_p = special.betaln(1.0 + s, self.alpha + 3.0 - s)
                log_p -= special.betaln(1.0, self.alpha)
                total += weight * (math.log(weight) - log_p)
        return total

    def test_it_is_an_upper_bound_of_the_kl_from_the_collapsed_prior(self) -> None:
        assert self.cost() > self.marginal_kl() > 0.0

    def test_the_bound_is_tight_where_masks_are_certain(self) -> None:
        self.logit = torch.tensor([[40.0, -40.0], [-40.0, -40.0], [40.0, -40.0]]).double()
        log_p = special.betaln(3.0, self.alpha + 1.0) + special.betaln(1.0, self.alpha + 3.0)
        log_p -= 2.0 * special.betaln(1.0, self.alpha)
        assert self.cost() == pytest.approx(-log_p, rel=1e-9)

    def test_edges_in_a_latent_that_has_some_cost_less(self) -> None:
        off, on = -40.0, 40.0

        def cost(*column: float) -> float:
            logit = torch.tensor(column, dtype=torch.float64).unsqueeze(1)
            return BetaBernoulli(self.alpha).cost(logit, 10).item()

        none, one, two = cost(*[off] * 9), cost(on, *[off] * 8), cost(on, on, *[off] * 7)
        assert one - none > two - one > 0


class TestEdgeBudget:
    """lambda (sum q - budget), lambda by ascent."""

    def test_cost_is_the_lagrangian(self) -> None:
        prior = EdgeBudget(2.5).double()
        with torch.no_grad():
            prior.log_multiplier.fill_(0.7)
        surplus = LOGIT.sigmoid().sum().item() - 2.5
        assert prior.cost(LOGIT, 10).item() == pytest.approx(math.exp(0.7) * surplus)

    @pytest.mark.parametrize(
        ("budget", "factor"), [(6.0, 1.0), (5.5, 1.0 + 4.0 / 11.0), (2.0, 2.0), (60.0, 0.0)]
    )
    def test_probabilities_descend_and_the_multiplier_ascends(
        self, budget: float, factor: float
    ) -> None:
        prior, logit = EdgeBudget(budget).double(), LOGIT.clone().requires_grad_()
        assert LOGIT.sigmoid().sum().item() == pytest.approx(6.0)
        with torch.no_grad():
            prior.log_multiplier.fill_(-0.4)
        prior.cost(logit, 10).backward()
        q, multiplier = LOGIT.sigmoid(), math.exp(-0.4)
        # of q itself: lambda, at the budget; the chain rule gives the logit's
        torch.testing.assert_close(logit.grad, factor * multiplier * q * (1.0 - q))
        surplus = q.sum().item() - budget
        assert prior.log_multiplier.grad is not None
        assert prior.log_multiplier.grad.item() == pytest.approx(-multiplier * surplus)

    @pytest.mark.parametrize("budget", [3.0, 6.0])
    def test_dual_ascent_reaches_the_budget(self, budget: float) -> None:
        gain = torch.arange(1.0, 13.0, dtype=torch.float64)  # nats that each edge is worth
        prior = EdgeBudget(budget).double()
        logit = torch.full((12, 1), 2.0, dtype=torch.float64, requires_grad=True)

        def lagrangian() -> Tensor:
            # a little entropy, so that the optimum is inside and not a corner
            worth = gain @ logit.sigmoid().squeeze(1) + 0.5 * entropy(logit).sum()
            return prior.cost(logit, 10) - worth

        # as in training: both at the rate of the logits, along a half cosine
        adam = torch.optim.Adam([logit, prior.log_multiplier], lr=0.03)
        rate = torch.optim.lr_scheduler.CosineAnnealingLR(adam, 1500)
        for _ in range(1500):
            adam.zero_grad()
            lagrangian().backward()
            adam.step()
            rate.step()
        q = logit.detach().sigmoid().squeeze(1)
        assert q.sum().item() == pytest.approx(budget, abs=0.05)
        # the best edges are kept, and lambda is about the worth of the last one in and the first out
        assert (q > 0.5).tolist() == [False] * (12 - int(budget)) + [True] * int(budget)
        assert prior.log_multiplier.exp().item() == pytest.approx(12.5 - budget, abs=0.5)

    def test_a_budget_that_is_met_costs_less_and_less(self) -> None:
        prior = EdgeBudget(50.0).double()
        adam = torch.optim.Adam([prior.log_multiplier], lr=0.05)
        for _ in range(400):
            adam.zero_grad()
            prior.cost(LOGIT, 10).backward()
            adam.step()
        assert prior.log_multiplier.exp().item() < 0.02


@pytest.mark.parametrize("squared", [0.3, 1.9, 2.1, 7.0, 30.0])
@pytest.mark.parametrize("name", MASK_PRIORS)
def test_the_best_probability_for_fixed_posterior_means(name: str, squared: float) -> None:
    # docs/model.md, table of mask priors: n cells whose posterior means average m, with the best
    # effect e = m, pay n m^2 (1 - q) / 2; here one perturbation, one latent, n m^2 = squared
    alpha, n_cells = 3.0, 40
    q = torch.linspace(1e-6, 1.0 - 1e-6, 401, dtype=torch.float64)
    prior = prior_of(name, alpha=alpha)
    if isinstance(prior, EdgeBudget):
        with torch.no_grad():
            prior.log_multiplier.fill_(math.log(alpha))
    price = torch.stack([prior.cost(x.logit().reshape(1, 1), n_cells) for x in q])
    total = price.detach() + 0.5 * squared * (1.0 - q)
    found = q[total.argmin()].item()
    expected = {
        "none": 1.0,
        "l1": float(squared > 2.0 * alpha),
        "l1_mean_loss": float(squared > 2.0 * alpha * n_cells),
        "beta_map": max(0.0, 1.0 - 2.0 * (alpha - 1.0) / squared),
        "bernoulli_kl": special.expit(special.logit(0.05) + 0.5 * squared),
        "edge_budget": float(squared > 2.0 * alpha),
    }
    if name == "beta_bernoulli":
        inside = special.digamma(1.0 + found) - special.digamma(alpha + 1.0 - found)
        expected[name] = special.expit(inside + 0.5 * squared)
    assert found == pytest.approx(expected[name], abs=0.006)


def test_alpha_that_is_left_open_is_the_number_of_rows_until_effects_are_seen() -> None:
    prior = mask_prior("beta_map", Strengths(None, 0.05, 2.0, len(LOGIT))).double()
    torch.testing.assert_close(prior.cost(LOGIT, 10), BetaMap(3.0).double().cost(LOGIT, 10))
    effects, cells = torch.randn(3, 4).double(), torch.tensor([50.0, 400.0, 1000.0]).double()
    prior.observe(effects, cells)
    alpha = alpha_by_perturbation(effects, cells)
    expected = ((alpha - 1.0) * torch.nn.functional.softplus(LOGIT)).sum()
    torch.testing.assert_close(prior.cost(LOGIT, 10), expected)
    assert torch.equal(prior.state_dict()["alpha"], alpha)  # what is saved
    best = prior.best_inclusion(effects, cells)
    rows = [
        beta_inclusion(effects[p : p + 1], cells[p : p + 1], alpha[p].item()) for p in range(3)
    ]
    torch.testing.assert_close(best, torch.cat(rows))


def test_alpha_that_is_given_stays() -> None:
    prior = mask_prior("beta_map", Strengths(7.0, 0.05, 2.0, len(LOGIT))).double()
    prior.observe(torch.ones(3, 4), torch.full((3,), 1e4))
    torch.testing.assert_close(prior.cost(LOGIT, 10), BetaMap(7.0).double().cost(LOGIT, 10))
    assert not prior.state_dict()
