import numpy as np
import pytest
import torch
from scipy import special, stats
from torch import Tensor

from sparseshift.probability import poisson

COUNTS = torch.tensor(
    [[0.0, 1.0, 7.0, 250.0], [3.0, 0.0, 0.0, 12.0], [1.0, 0.0, 0.0, 0.0]]
).double()


def scores(*particles: int) -> Tensor:
    """Normal, (*particles, 3, 4)."""
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.normal(1.0, 2.0, size=(*particles, 3, 4)))


@pytest.mark.parametrize("particles", [(), (5,), (2, 3)])
def test_it_is_scipys_without_the_factorials(particles: tuple[int, ...]) -> None:
    s = scores(*particles)
    mean = COUNTS.sum(-1, keepdim=True) * s.softmax(-1)
    counts = COUNTS.numpy()
    expected = stats.poisson.logpmf(counts, mean.numpy()) + special.gammaln(counts + 1.0)
    np.testing.assert_allclose(
        poisson.softmax_log_prob(COUNTS, s), expected.sum(-1), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("particles", [(), (2,)])
def test_gradients(particles: tuple[int, ...]) -> None:
    s = scores(*particles).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: poisson.softmax_log_prob(COUNTS, v), (s,))


def test_empty_cells_and_extreme_scores_are_finite() -> None:
    s = torch.tensor([[0.0, 1.0], [-200.0, 200.0]], requires_grad=True)
    value = poisson.softmax_log_prob(torch.tensor([[0.0, 0.0], [2.0, 5.0]]), s)
    value.sum().backward()
    assert s.grad is not None
    assert torch.isfinite(torch.cat([value.detach(), s.grad.flatten()])).all()
    assert value[0].item() == 0.0


def test_models_can_be_batched_by_vmap() -> None:
    s = scores(3)

    def loss(v: Tensor) -> Tensor:
        return poisson.softmax_log_prob(COUNTS, v).square().sum()

    batched = torch.vmap(torch.func.grad(loss))(s)
    for k in range(3):
        torch.testing.assert_close(torch.func.grad(loss)(s[k]), batched[k])


def test_sample_moments() -> None:
    n, mean = 40_000, np.array([0.3, 4.0, 60.0])
    log_mean = torch.from_numpy(np.log(mean)).expand(n, 3)
    drawn = poisson.sample(log_mean, torch.Generator().manual_seed(0)).numpy()
    assert (drawn == np.round(drawn)).all()
    np.testing.assert_array_less(np.abs(drawn.mean(0) - mean), 5.0 * np.sqrt(mean / n))
    np.testing.assert_allclose(drawn.var(0), mean, rtol=0.05)
