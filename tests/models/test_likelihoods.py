"""p(x | scores), against scipy."""

import math

import numpy as np
import pytest
import torch
from scipy import special, stats

from sparseshift.models.likelihoods import (
    LIKELIHOODS,
    Gaussian,
    Likelihood,
    NegativeBinomial,
    Poisson,
    likelihood,
)

COUNTS = np.array([[0, 1, 7, 250], [3, 0, 0, 12], [1, 0, 0, 0]], dtype=float)
OWN = [-1.0, 0.0, 0.7, 2.0]  # log inverse dispersion, or log standard deviation, of each gene
each = pytest.mark.parametrize("name", LIKELIHOODS)


def made(name: str) -> Likelihood:
    """In float64, with a parameter of its own for each gene."""
    module = likelihood(name, 4).double()
    with torch.no_grad():
        for value in module.parameters():
            value.copy_(torch.tensor(OWN, dtype=torch.float64))
    return module


def scores(n_particles: int = 5) -> torch.Tensor:
    """(particles, 3, 4)."""
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.normal(0.0, 2.0, size=(n_particles, *COUNTS.shape)))


def scipy_log_prob(name: str, counts: np.ndarray, score: np.ndarray) -> np.ndarray:
    """All of log p(x | scores), nats, summed over genes."""
    totals = counts.sum(-1, keepdims=True)
    if name == "gaussian":
        values = np.log1p(counts / totals * 10_000)
        return stats.norm.logpdf(values, score, np.exp(OWN)).sum(-1)
    mean = totals * special.softmax(score, axis=-1)
    if name == "poisson":
        return stats.poisson.logpmf(counts, mean).sum(-1)
    t = np.exp(OWN)
    return stats.nbinom.logpmf(counts, t, t / (t + mean)).sum(-1)


def test_names_are_those_of_the_table() -> None:
    kinds = (NegativeBinomial, Poisson, Gaussian)
    assert tuple(type(likelihood(name, 3)) for name in LIKELIHOODS) == kinds
    assert [len(list(likelihood(name, 3).parameters())) for name in LIKELIHOODS] == [1, 0, 1]


@each
def test_log_probabilities_are_scipys_also_with_particles_in_front(name: str) -> None:
    module, counts = made(name), torch.from_numpy(COUNTS)
    whole = module.log_prob(counts, scores()) + module.constant(counts)
    assert whole.shape == (5, 3)
    expected = scipy_log_prob(name, COUNTS, scores().numpy())
    np.testing.assert_allclose(whole.detach(), expected, rtol=1e-9)
    for k in range(5):
        alone = module.log_prob(counts, scores()[k]) + module.constant(counts)
        np.testing.assert_allclose(alone.detach(), expected[k], rtol=1e-9)


@each
def test_what_training_leaves_out_depends_on_the_data_alone(name: str) -> None:
    module, counts = made(name), torch.from_numpy(COUNTS)
    constant = module.constant(counts)
    assert constant.shape == (3,)
    assert not constant.requires_grad
    expected = 0.0 if name == "gaussian" else -special.gammaln(COUNTS + 1.0).sum(-1)
    np.testing.assert_allclose(constant, np.broadcast_to(expected, 3))


@each
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    module, counts = made(name), torch.from_numpy(COUNTS)
    parameters = list(module.parameters())

    def log_prob(score: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        return module.log_prob(counts, score)

    assert torch.autograd.gradcheck(log_prob, (scores(2).requires_grad_(), *parameters))


@pytest.mark.parametrize("name", ["nb", "poisson"])
def test_scores_of_counts_have_a_free_constant(name: str) -> None:
    module, counts = made(name), torch.from_numpy(COUNTS)
    moved = scores() + torch.linspace(-3.0, 3.0, 3).double().unsqueeze(1)
    torch.testing.assert_close(module.log_prob(counts, moved), module.log_prob(counts, scores()))
    log_rho = module.log_expression(moved)
    torch.testing.assert_close(log_rho.exp().sum(-1), torch.ones(5, 3).double())


@each
def test_sample_moments(name: str) -> None:
    n = 40_000
    module = made(name)
    score = torch.tensor([0.1, 1.0, 0.4, 2.0], dtype=torch.float64)
    totals = torch.full((n, 1), 80.0, dtype=torch.float64)
    if name == "gaussian":
        score = score + 6.0  # far from 0, where draws are cut off
    with torch.no_grad():
        drawn, again, other = (
            module.sample(score.expand(n, 4), totals, torch.Generator().manual_seed(s)).numpy()
            for s in (0, 0, 1)
        )
    assert drawn.shape == (n, 4)
    np.testing.assert_array_equal(drawn, again)
    assert not np.array_equal(drawn, other)
    own = np.exp(OWN)
    if name == "gaussian":
        drawn = np.log1p(drawn / 80.0 * 1e4)[:, :3]
        mean, variance = score.numpy()[:3], own[:3] ** 2
    else:
        assert (drawn == np.round(drawn)).all()
        mean = 80.0 * special.softmax(score.numpy())
        variance = mean if name == "poisson" else mean + mean**2 / own
    np.testing.assert_array_less(np.abs(drawn.mean(0) - mean), 5.0 * np.sqrt(variance / n))
    np.testing.assert_allclose(drawn.var(0), variance, rtol=0.12)


def test_gaussian_samples_are_never_negative() -> None:
    module = made("gaussian")
    with torch.no_grad():
        drawn = module.sample(torch.full((500, 4), -1.0).double(), torch.ones(500, 1).double())
    assert (drawn >= 0).all()
    assert math.isclose(drawn.min().item(), 0.0)


def test_a_promise_about_counts_ends_also_when_what_is_inside_fails() -> None:
    model = NegativeBinomial(3)
    counts, scores = torch.tensor([[0.0, 2.0, 40.0]]), torch.zeros(1, 3)
    expected = model.log_prob(counts, scores)

    def fail() -> None:
        with model.expecting(torch.tensor([1.0, 2.0, 50.0])):
            assert model.plan is not None
            torch.testing.assert_close(model.log_prob(counts, scores), expected)
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        fail()
    assert model.plan is None
