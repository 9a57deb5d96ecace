"""Masks that let gradients through, and the costs of posteriors over them."""

import math

import pytest
import torch
from torch.distributions import Bernoulli
from torch.distributions import kl_divergence as kl_of_torch

from sparseshift.probability.bernoulli import entropy, kl_divergence, straight_through

LOGIT = torch.tensor([-4.0, -0.7, 0.0, 0.4, 3.0], dtype=torch.float64)


def uniform(*shape: int) -> torch.Tensor:
    """In (0, 1), float64."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.0])
def test_draws_are_exactly_0_or_1_with_the_right_frequency(temperature: float) -> None:
    n = 40_000
    drawn = straight_through(LOGIT, uniform(n, 5), temperature)
    assert ((drawn == 0.0) | (drawn == 1.0)).all()
    q = LOGIT.sigmoid()
    assert ((drawn.mean(0) - q).abs() < 4.0 * (q * (1.0 - q) / n).sqrt()).all()


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.0])
def test_gradient_is_that_of_the_relaxed_draw(temperature: float) -> None:
    u, weight = uniform(7, 5), torch.linspace(-1.0, 2.0, 35, dtype=torch.float64).reshape(7, 5)
    hard, relaxed = (LOGIT.clone().requires_grad_() for _ in range(2))
    (weight * straight_through(hard, u, temperature)).sum().backward()
    # the binary concrete draw of Maddison et al. 2017, from its definition
    noise = u.log() - (1.0 - u).log()
    (weight * torch.sigmoid((relaxed + noise) / temperature)).sum().backward()
    torch.testing.assert_close(hard.grad, relaxed.grad)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_draws_and_gradients_are_finite_at_the_ends(dtype: torch.dtype) -> None:
    ends = torch.tensor([0.0, torch.finfo(dtype).eps, 0.5, 1.0 - torch.finfo(dtype).eps])
    for value in (-50.0, 0.0, 50.0):
        logit = torch.full((4,), value, dtype=dtype, requires_grad=True)
        drawn = straight_through(logit, ends.to(dtype))
        drawn.sum().backward()
        assert ((drawn == 0.0) | (drawn == 1.0)).all()
        assert logit.grad is not None
        assert torch.isfinite(logit.grad).all()


def test_entropy_is_torchs() -> None:
    torch.testing.assert_close(entropy(LOGIT), Bernoulli(logits=LOGIT).entropy())


@pytest.mark.parametrize("prior", [1e-4, 0.01, 0.5, 0.99])
def test_kl_is_torchs(prior: float) -> None:
    other = Bernoulli(torch.tensor(prior, dtype=torch.float64))
    expected = kl_of_torch(Bernoulli(logits=LOGIT), other)
    torch.testing.assert_close(kl_divergence(LOGIT, prior), expected)
    at_prior = torch.tensor(math.log(prior / (1.0 - prior)), dtype=torch.float64)
    assert kl_divergence(at_prior, prior).item() == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("value", [-200.0, -50.0, 50.0, 200.0])
def test_costs_and_gradients_are_finite_at_far_logits(value: float, dtype: torch.dtype) -> None:
    logit = torch.tensor([value], dtype=dtype, requires_grad=True)
    cost = (kl_divergence(logit, 0.01) + entropy(logit)).sum()
    cost.backward()
    expected = -math.log(0.01) if value > 0 else -math.log(0.99)
    assert cost.item() == pytest.approx(expected, rel=1e-5)
    assert logit.grad is not None
    assert torch.isfinite(logit.grad).all()
