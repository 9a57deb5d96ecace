import numpy as np
import pytest
import torch
from scipy import special, stats
from torch import Tensor

from sparseshift.probability import negative_binomial as nb

COUNTS = np.array([[0, 1, 7, 250], [3, 0, 0, 12], [0, 0, 0, 0]], dtype=float)


def parameters(n_particles: int = 5) -> tuple[Tensor, Tensor]:
    """Log means (particles, 3, 4) and log inverse dispersions (4,)."""
    rng = np.random.default_rng(0)
    log_mean = torch.from_numpy(rng.normal(1.0, 2.0, size=(n_particles, *COUNTS.shape)))
    return log_mean, torch.tensor([-3.0, 0.0, 1.5, 6.0], dtype=torch.float64)


def scipy_log_prob(counts: np.ndarray, log_mean: Tensor, log_t: Tensor) -> np.ndarray:
    """Of every count, by scipy."""
    m, t = log_mean.exp().numpy(), log_t.exp().numpy()
    return stats.nbinom.logpmf(counts, t, t / (t + m))


def test_log_prob_is_scipys_also_with_particles_in_front() -> None:
    log_mean, log_t = parameters()
    counts = torch.from_numpy(COUNTS)
    expected = scipy_log_prob(COUNTS, log_mean, log_t).sum(-1)
    np.testing.assert_allclose(nb.log_prob(counts, log_mean, log_t), expected, rtol=1e-10)
    for k in range(len(log_mean)):
        alone = nb.log_prob(counts, log_mean[k], log_t)
        np.testing.assert_allclose(alone, expected[k], rtol=1e-10)
    nested = nb.log_prob(counts, log_mean.reshape(5, 1, 3, 4), log_t)
    np.testing.assert_allclose(nested, expected[:, None], rtol=1e-10)


def test_log_prob_sums_to_one_over_counts() -> None:
    counts = torch.arange(2000, dtype=torch.float64).unsqueeze(1)
    log_p = nb.log_prob(
        counts, torch.full_like(counts, 2.0), torch.tensor([0.3], dtype=torch.float64)
    )
    assert log_p.exp().sum().item() == pytest.approx(1.0, abs=1e-9)


def test_terms_add_up_and_depend_on_what_they_say() -> None:
    log_mean, log_t = parameters()
    counts = torch.from_numpy(COUNTS)
    total = (
        nb.rate_term(counts, log_mean, log_t)
        + nb.count_term(counts, log_t)
        - nb.log_factorials(counts)
    )
    torch.testing.assert_close(total, nb.log_prob(counts, log_mean, log_t))
    np.testing.assert_allclose(nb.log_factorials(counts), special.gammaln(COUNTS + 1.0).sum(-1))
    t = log_t.exp().numpy()
    by_hand = special.gammaln(COUNTS + t) - special.gammaln(t) - COUNTS * np.log(t)
    np.testing.assert_allclose(nb.count_term(counts, log_t), by_hand.sum(-1), atol=1e-10)
    assert nb.count_term(counts, log_t)[2] == 0.0


@pytest.mark.parametrize("name", ["log_prob", "rate_term"])
def test_gradients_of_terms_with_a_mean(name: str) -> None:
    log_mean, log_t = parameters(2)
    counts = torch.from_numpy(COUNTS)
    assert torch.autograd.gradcheck(
        lambda m, t: getattr(nb, name)(counts, m, t),
        (log_mean.requires_grad_(), log_t.requires_grad_()),
    )


def test_gradient_of_the_count_term() -> None:
    counts = torch.from_numpy(COUNTS)
    _, log_t = parameters()
    assert torch.autograd.gradcheck(lambda t: nb.count_term(counts, t), (log_t.requires_grad_(),))


@pytest.mark.parametrize("log_t", [12.0, 16.0, 20.0, 24.0])
@pytest.mark.parametrize("mean", [0.01, 0.7, 5.0, 40.0])
def test_float32_is_poisson_for_large_inverse_dispersion(log_t: float, mean: float) -> None:
    counts = np.array([[0.0, 1.0, 2.0, np.ceil(mean), np.ceil(2.0 * mean)]])
    log_mean = torch.full((1, 5), float(np.log(mean)), requires_grad=True)
    log_dispersion = torch.full((5,), log_t, requires_grad=True)
    log_p = nb.log_prob(torch.from_numpy(counts).float(), log_mean, log_dispersion)
    # log NB - log Poisson is ((x - m)^2 - x) / 2t to first order
    first_order = (((counts - mean) ** 2 - counts) / (2.0 * np.exp(log_t))).sum()
    expected = stats.poisson.logpmf(counts, mean).sum() + first_order
    assert log_p.item() == pytest.approx(expected, abs=1e-4, rel=3e-6)
    log_p.sum().backward()
    assert log_mean.grad is not None
    assert log_dispersion.grad is not None
    by_mean = (counts - mean) / (1.0 + mean / np.exp(log_t))
    np.testing.assert_allclose(log_mean.grad, by_mean, atol=1e-5 * mean, rtol=1e-5)
    # by gene, so that no rounding drives the dispersion away; digamma keeps 1e-16 of log t
    slope = -((counts - mean) ** 2 - counts)[0] / (2.0 * np.exp(log_t))
    rounding = 1e-5 * mean + 1e-14 * np.exp(log_t)
    np.testing.assert_allclose(log_dispersion.grad, slope, atol=rounding, rtol=0.02)


@pytest.mark.parametrize("count", [1e3, 1e4, 1e5])
def test_float32_for_large_counts(count: float) -> None:
    counts = np.array([[count, 2.0 * count, 0.0]])
    log_mean, log_t = np.full((1, 3), np.log(1.1 * count)), np.array([0.0, 2.0, -2.0])
    expected = scipy_log_prob(counts, torch.from_numpy(log_mean), torch.from_numpy(log_t)).sum()
    args = (torch.from_numpy(a).float() for a in (counts, log_mean, log_t))
    # terms of size x log x cancel: what float32 keeps of them
    assert nb.log_prob(*args).item() == pytest.approx(expected, abs=1e-6 * count * np.log(count))


def test_extreme_means_have_finite_values_and_gradients() -> None:
    log_mean = torch.tensor([[-80.0, 60.0, -80.0, 60.0]], requires_grad=True)
    log_t = torch.tensor([0.0, 0.0, 5.0, -5.0], requires_grad=True)
    log_p = nb.log_prob(torch.tensor([[0.0, 3.0, 2.0, 0.0]]), log_mean, log_t)
    log_p.sum().backward()
    for value in (log_p, log_mean.grad, log_t.grad):
        assert value is not None
        assert torch.isfinite(value).all()


@pytest.mark.parametrize("log_t", [-1.0, 1.0, 8.0])
def test_sample_moments(log_t: float) -> None:
    n = 40_000
    mean = np.array([0.3, 4.0, 60.0])
    log_mean = torch.from_numpy(np.log(mean)).expand(n, 3)
    dispersion = torch.full((3,), log_t, dtype=torch.float64)
    drawn = nb.sample(log_mean, dispersion, torch.Generator().manual_seed(0)).numpy()
    assert (drawn == np.round(drawn)).all()
    variance = mean + mean**2 / np.exp(log_t)
    np.testing.assert_array_less(np.abs(drawn.mean(0) - mean), 5.0 * np.sqrt(variance / n))
    t = np.exp(log_t)
    kurtosis = stats.nbinom.stats(t, t / (t + mean), moments="k")
    error = variance * np.sqrt((kurtosis + 2.0) / n)
    np.testing.assert_array_less(np.abs(drawn.var(0) - variance), 5.0 * error)


def test_sample_is_its_generators() -> None:
    log_mean, log_t = parameters()
    a, b, c = (nb.sample(log_mean, log_t, torch.Generator().manual_seed(s)) for s in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert a.shape == log_mean.shape
