"""Masks over (perturbations, latents): probabilities, draws, freezing."""

import pytest
import torch

from sparseshift.models.mask_priors import BernoulliKL, BetaMap, EdgeBudget, NoPrior
from sparseshift.models.masks import BernoulliMask, FixedMask
from sparseshift.probability.bernoulli import straight_through


def uniform(*shape: int) -> torch.Tensor:
    """In (0, 1)."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def test_learnt_mask_is_its_logits_and_costs_what_its_prior_says() -> None:
    logit = torch.linspace(-3.0, 3.0, 6).reshape(2, 3)
    for prior in (NoPrior(), BetaMap(4.0), BernoulliKL(0.1)):
        mask = BernoulliMask(logit.clone(), prior)
        assert torch.equal(mask.inclusion_probability(), logit.sigmoid())
        torch.testing.assert_close(mask.cost(100), prior.cost(mask.logit, 100))


def test_fixed_mask_has_no_parameters_and_costs_nothing() -> None:
    inclusion = torch.tensor([[0.0, 0.25], [1.0, 0.5]])
    mask = FixedMask(inclusion)
    assert torch.equal(mask.inclusion_probability(), inclusion)
    assert mask.cost(1000).item() == 0.0
    assert not list(mask.parameters())
    assert torch.equal(mask.state_dict()["inclusion"], inclusion)


def test_draws_have_the_frequency_of_their_row() -> None:
    q = torch.tensor([[0.0, 0.25, 1.0], [0.9, 0.5, 0.04]])
    n = 20_000
    for mask in (FixedMask(q), BernoulliMask(q.logit(), NoPrior())):
        whole = mask.sample(uniform(n, 2, 3))
        some = mask.sample(uniform(n, 3), torch.arange(n) % 2)
        for drawn in (whole, torch.stack([some[0::2], some[1::2]], dim=1)):
            assert ((drawn == 0.0) | (drawn == 1.0)).all()
            error = (q * (1.0 - q) / len(drawn)).sqrt()
            assert ((drawn.mean(0) - q).abs() <= 4.0 * error).all()


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_rows_share_the_gradient_of_their_logits(temperature: float) -> None:
    logit = torch.tensor([[-1.0, 0.3], [2.0, 0.0]])
    rows, u = torch.tensor([1, 0, 1, 1]), uniform(4, 2)
    mask = BernoulliMask(logit.clone(), NoPrior(), temperature)
    mask.sample(u, rows).sum().backward()
    by_row = logit[rows].clone().requires_grad_()
    straight_through(by_row, u, temperature).sum().backward()
    assert by_row.grad is not None
    expected = torch.zeros_like(logit).index_add(0, rows, by_row.grad)
    torch.testing.assert_close(mask.logit.grad, expected)


def test_a_frozen_graph_is_the_thresholded_one_and_stays() -> None:
    logit = torch.tensor([[-3.0, -1e-3, 0.0], [1e-3, 5.0, 40.0]])
    expected = (logit > 0.0).float()
    mask = BernoulliMask(logit.clone(), EdgeBudget(1.0))
    mask.freeze()
    torch.testing.assert_close(mask.inclusion_probability(), expected, atol=1e-12, rtol=0)
    assert mask.cost(50).item() == 0.0
    assert not [p for p in mask.parameters() if p.requires_grad]
    drawn = mask.sample(uniform(500, 2, 3).clamp(min=1e-6))
    assert torch.equal(drawn, expected.expand(500, 2, 3))
    assert not drawn.requires_grad
