"""Effects as numbers and as distributions."""

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from sparseshift.models.effects import NormalEffect, PointEffect

TABLE = torch.tensor([[0.3, -2.0, 0.0], [4.0, 1e-3, -0.7]], dtype=torch.float64)
LOG_STD = torch.tensor([[-2.0, 0.5, 0.0], [1.0, -4.0, -0.3]], dtype=torch.float64)


def test_point_effects_are_their_table_and_cost_nothing() -> None:
    effect = PointEffect(TABLE.clone())
    noise = torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(0)).double()
    assert torch.equal(effect.mean(), TABLE)
    assert torch.equal(effect.sample(noise), TABLE)
    assert effect.variance() is None
    assert effect.cost().item() == 0.0


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_normal_effects_cost_the_kl_of_torch(scale: float) -> None:
    effect = NormalEffect(TABLE.clone(), LOG_STD.clone(), scale)
    expected = kl_divergence(Normal(TABLE, LOG_STD.exp()), Normal(0.0, scale)).sum()
    torch.testing.assert_close(effect.cost().detach(), expected)
    at_prior = NormalEffect(torch.zeros(2, 3), torch.full((2, 3), scale).log(), scale)
    assert at_prior.cost().item() == pytest.approx(0.0, abs=1e-6)


def test_samples_have_the_mean_and_variance_that_are_named() -> None:
    n = 40_000
    effect = NormalEffect(TABLE.clone(), LOG_STD.clone(), 1.0)
    noise = torch.randn(n, 2, 3, generator=torch.Generator().manual_seed(0)).double()
    drawn = effect.sample(noise).detach()
    mean, variance = effect.mean().detach(), effect.variance().detach()
    torch.testing.assert_close(variance, LOG_STD.exp().square())
    assert ((drawn.mean(0) - mean).abs() < 4.0 * (variance / n).sqrt()).all()
    assert ((drawn.var(0) - variance).abs() < 4.0 * variance * (2.0 / n) ** 0.5).all()


def test_gradients_reach_mean_and_spread_of_a_sample() -> None:
    effect = NormalEffect(TABLE.clone(), LOG_STD.clone(), 1.0)
    noise = torch.randn(2, 3, generator=torch.Generator().manual_seed(0)).double()
    effect.sample(noise).sum().backward()
    torch.testing.assert_close(effect.table.grad, torch.ones_like(TABLE))
    torch.testing.assert_close(effect.log_std.grad, LOG_STD.exp() * noise)
