"""Placing new perturbations sparsely: which latents their support cells speak for."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from sparseshift.data.cells import Cells
from sparseshift.data.design import Design
from sparseshift.models.adaptation import adapted_prior, has_sparse_form
from sparseshift.models.effects import PointEffect
from sparseshift.models.mask_priors import EdgeBudget, Strengths, mask_prior
from sparseshift.models.masks import BernoulliMask
from sparseshift.models.priors import ShiftPrior
from sparseshift.models.vae import PerturbationVAE
from sparseshift.models.warm_start.strength import alpha_by_perturbation
from sparseshift.probability import bernoulli
from sparseshift.probability.masked_shift import shift_moments

KNOWN = Design(("A", "B"), "control", additive=True)
LATENTS = 3
COST: dict[str, Callable[[Tensor], Tensor]] = {  # of one inclusion probability, nats
    "l1": lambda q: 9.0 * q,
    "beta_map": lambda q: -8.0 * torch.log1p(-q),
    "bernoulli_kl": lambda q: bernoulli.kl_divergence(q.logit(), 0.05),
}


def prior_of(name: str, alpha: float | None = 9.0, logit: Tensor | None = None) -> ShiftPrior:
    """Of A and B, with a mask prior of this name."""
    strengths = Strengths(alpha, 0.05, 2.0, n_rows=2)
    start = torch.zeros(2, LATENTS, dtype=torch.float64) if logit is None else logit
    mask = BernoulliMask(start, mask_prior(name, strengths))
    return ShiftPrior(PointEffect(torch.ones(2, LATENTS, dtype=torch.float64)), mask)


def support_of(make_cells: Callable[..., Cells], *labels: str, n_cells: int) -> Cells:
    """Support cells whose design has A and B first."""
    return make_cells(KNOWN.extend(KNOWN.unknown(labels)), labels, n_cells=n_cells)


def adapted(prior: ShiftPrior, mean: Tensor, cells: Cells, *, sparse: bool = True) -> ShiftPrior:
    """With rows for what is new in the cells."""
    found = adapted_prior(prior, mean, cells, 2, sparse=sparse)
    assert isinstance(found, ShiftPrior)
    return found


@pytest.mark.parametrize("name", list(COST))
@pytest.mark.parametrize("size", [0.3, 0.9, 2.0])
def test_the_inclusion_probability_is_the_one_that_pays_most(
    name: str, size: float, make_cells: Callable[..., Cells]
) -> None:
    """Against every q of a grid: its cost, and the KL of all support cells."""
    cells = support_of(make_cells, "C", n_cells=40)
    mean = size + 0.1 * torch.randn(
        40, LATENTS, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    prior = adapted(prior_of(name), mean, cells)
    found = prior.inclusion_probability()[2, 0]
    torch.testing.assert_close(prior.effect()[2].detach(), mean.mean(0))

    def nats(q: Tensor) -> Tensor:
        inclusion = q.reshape(-1, 1, 1).expand(-1, 3, 1)
        effect = prior.effect().detach()[:, :1]
        shift, variance = (
            torch.stack([shift_moments(cells.design, i, effect)[k] for i in inclusion])
            for k in (0, 1)
        )
        own = shift[:, cells.label, 0], variance[:, cells.label, 0]
        squared = (mean[:, 0] - own[0]).square() + own[1]
        return 0.5 * squared.sum(1) + COST[name](q)

    grid = torch.linspace(1e-6, 1 - 1e-6, 20_001, dtype=torch.float64)
    best = grid[nats(grid).argmin()]
    assert float(found) == pytest.approx(float(best), abs=2e-4)


def test_where_alpha_is_left_open_it_is_set_by_the_new_effects(
    make_cells: Callable[..., Cells],
) -> None:
    cells = support_of(make_cells, "C", "D", n_cells=200)
    shift = torch.tensor([[2.0, 0.1, 0.0], [0.0, 1.5, 1.4]], dtype=torch.float64)
    mean = shift[cells.label]
    prior = adapted(prior_of("beta_map", alpha=None), mean, cells)
    size = torch.tensor([100.0, 100.0], dtype=torch.float64)
    alpha = alpha_by_perturbation(shift, size)
    expected = (1 - 2 * (alpha - 1) / (100 * shift.square())).clamp(min=0.0)
    torch.testing.assert_close(prior.inclusion_probability()[2:], expected)
    assert (prior.inclusion_probability()[2:] > 0.5).tolist() == [
        [True, False, False],
        [False, True, True],
    ]


def test_a_density_of_edges_that_was_learnt_is_used(make_cells: Callable[..., Cells]) -> None:
    """Of beta_bernoulli, the mean of each latent's posterior density."""
    logit = torch.tensor([[9.0, -9.0, 0.0], [9.0, -9.0, 0.0]], dtype=torch.float64)
    prior = prior_of("beta_bernoulli", alpha=4.0, logit=logit)
    cells = support_of(make_cells, "C", n_cells=5)
    mean = torch.full((5, LATENTS), 0.4, dtype=torch.float64)
    found = adapted(prior, mean, cells).inclusion_probability()[2]
    density = (1 + logit.sigmoid().sum(0)) / (1 + 4 + 2)
    torch.testing.assert_close(found, (density.logit() + 0.5 * 5 * 0.16).sigmoid())
    assert found[0] > found[2] > found[1]


def test_an_edge_of_a_budget_costs_what_it_came_to(make_cells: Callable[..., Cells]) -> None:
    prior = prior_of("edge_budget")
    assert isinstance(prior.mask, BernoulliMask)
    assert isinstance(prior.mask.prior, EdgeBudget)
    with torch.no_grad():
        prior.mask.prior.log_multiplier.fill_(float(np.log(8.0)))
    cells = support_of(make_cells, "C", n_cells=100)
    mean = torch.tensor([[0.39, 0.41, 0.0]], dtype=torch.float64).expand(100, -1)
    # n m^2 > 2 lambda = 16
    assert adapted(prior, mean, cells).inclusion_probability()[2].tolist() == [0.0, 1.0, 0.0]


def test_cells_of_a_double_count_for_its_new_part(make_cells: Callable[..., Cells]) -> None:
    """A+C has q e of A taken off; its cells are all that speaks for C."""
    cells = support_of(make_cells, "A+C", n_cells=60)
    prior = prior_of("bernoulli_kl")
    mean = torch.full((60, LATENTS), 0.5, dtype=torch.float64)  # A's q e: half of 1
    found = adapted(prior, mean, cells)
    torch.testing.assert_close(
        found.effect()[2].detach(), torch.zeros(LATENTS, dtype=torch.float64)
    )
    torch.testing.assert_close(
        found.inclusion_probability()[2], torch.full((LATENTS,), 0.05, dtype=torch.float64)
    )


def test_what_was_trained_stays_and_dense_is_the_default(make_cells: Callable[..., Cells]) -> None:
    cells = support_of(make_cells, "C", n_cells=50)
    mean = torch.randn(50, LATENTS, dtype=torch.float64)
    prior = prior_of("bernoulli_kl")
    sparse, dense = (adapted(prior, mean, cells, sparse=s) for s in (True, False))
    for found in (sparse, dense):
        torch.testing.assert_close(
            found.inclusion_probability()[:2], prior.inclusion_probability()
        )
        torch.testing.assert_close(found.effect()[:2], prior.effect())
    assert (dense.inclusion_probability()[2] == 1.0).all()
    assert (sparse.inclusion_probability()[2] < 1.0).all()


def test_only_learnt_masks_before_any_cell_can_be_sparse(
    make_model: Callable[..., PerturbationVAE],
) -> None:
    can = {
        name: has_sparse_form(make_model(name, ("control", "A", "B")))
        for name in ("vae", "ivae", "svae", "svae_plus", "sams_vae", "conditional_vae")
    }
    assert [name for name, yes in can.items() if yes] == ["svae", "svae_plus"]
