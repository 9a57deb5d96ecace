import numpy as np
import pytest
import torch
from scipy import special, stats
from torch import Tensor

from sparseshift.probability import negative_binomial as nb
from sparseshift.probability.count_term import plan_counts

COUNTS = np.array([[0, 1, 7, 250], [3, 0, 0, 12], [0, 2, 40, 0], [31, 0, 0, 5]], dtype=float)


def parameters(n_particles: int = 5) -> tuple[Tensor, Tensor]:
    """Scores (particles, 4, 4) and log inverse dispersions (4,)."""
    rng = np.random.default_rng(0)
    scores = torch.from_numpy(rng.normal(1.0, 2.0, size=(n_particles, *COUNTS.shape)))
    return scores, torch.tensor([-3.0, 0.0, 1.5, 6.0], dtype=torch.float64)


def log_mean(counts: Tensor, scores: Tensor) -> Tensor:
    """log(l softmax(scores))."""
    return counts.sum(-1, keepdim=True).log() + scores.log_softmax(-1)


def scipy_log_prob(counts: np.ndarray, log_mean: Tensor, log_t: Tensor) -> np.ndarray:
    """Of every count, by scipy."""
    m, t = log_mean.exp().numpy(), log_t.exp().numpy()
    return stats.nbinom.logpmf(counts, t, t / (t + m))


def plain(counts: Tensor, scores: Tensor, log_t: Tensor) -> Tensor:
    """The formula of the module, for autograd to differentiate; no empty cells."""
    m, t = log_mean(counts, scores), log_t.exp()
    rate = counts * m - (counts + t) * torch.log1p((m - log_t).exp())
    return (torch.lgamma(counts + t) - torch.lgamma(t) - counts * log_t + rate).sum(-1)


@pytest.mark.parametrize("with_gradient", [True, False])
def test_it_is_scipys_also_with_particles_in_front(with_gradient: bool) -> None:
    scores, log_t = parameters()
    counts = torch.from_numpy(COUNTS)
    expected = scipy_log_prob(COUNTS, log_mean(counts, scores), log_t).sum(-1)
    expected += special.gammaln(COUNTS + 1.0).sum(-1)
    scores.requires_grad_(with_gradient)
    value = nb.softmax_log_prob(counts, scores, log_t).detach()
    np.testing.assert_allclose(value, expected, rtol=1e-10)
    for k in range(len(scores)):
        alone = nb.softmax_log_prob(counts, scores[k], log_t).detach()
        np.testing.assert_allclose(alone, expected[k], rtol=1e-10)
    nested = nb.softmax_log_prob(counts, scores.reshape(5, 1, 4, 4), log_t).detach()
    np.testing.assert_allclose(nested, expected[:, None], rtol=1e-10)


def test_scores_count_up_to_a_constant_of_the_cell() -> None:
    scores, log_t = parameters(1)
    counts = torch.from_numpy(COUNTS)
    moved = scores + torch.tensor([[3.0], [-40.0], [1e3], [0.0]], dtype=torch.float64)
    torch.testing.assert_close(
        nb.softmax_log_prob(counts, moved, log_t), nb.softmax_log_prob(counts, scores, log_t)
    )


def test_counts_of_two_genes_sum_to_one() -> None:
    # of cells with means fixed at those of a total of 20, over all counts of both genes
    one = torch.arange(400, dtype=torch.float64)
    log_t = torch.tensor([0.3, 2.0], dtype=torch.float64)
    means = np.array([5.0, 15.0])
    log_p = [
        scipy_log_prob(one.numpy(), torch.tensor(np.log(m)), t).astype(float)
        for m, t in zip(means, log_t, strict=True)
    ]
    cells = torch.tensor([[8.0, 12.0], [0.0, 20.0], [20.0, 0.0]], dtype=torch.float64)
    scores = torch.from_numpy(np.log(means)).expand(3, 2)
    value = nb.softmax_log_prob(cells, scores, log_t) - nb.log_factorials(cells)
    expected = [log_p[0][int(a)] + log_p[1][int(b)] for a, b in cells.numpy()]
    np.testing.assert_allclose(value, expected, rtol=1e-12)


@pytest.mark.parametrize("particles", [(), (3,), (2, 1)])
def test_gradients_are_those_of_the_plain_formula(particles: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    counts = torch.from_numpy(COUNTS)
    scores = torch.from_numpy(rng.normal(size=(*particles, *COUNTS.shape))).requires_grad_()
    log_t = parameters()[1].requires_grad_()
    weight = torch.from_numpy(rng.normal(size=scores.shape[:-1]))
    ours, plains = (
        torch.autograd.grad(f(counts, scores, log_t), (scores, log_t), weight)
        for f in (nb.softmax_log_prob, plain)
    )
    for a, b in zip(ours, plains, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
    assert torch.autograd.gradcheck(
        lambda s, t: nb.softmax_log_prob(counts, s, t), (scores, log_t)
    )


def test_gradient_of_one_argument_alone() -> None:
    counts = torch.from_numpy(COUNTS)
    scores, log_t = parameters(1)
    for wanted in (scores, log_t):
        wanted.requires_grad_()
        nb.softmax_log_prob(counts, scores, log_t).sum().backward()
        assert wanted.grad is not None
        assert torch.isfinite(wanted.grad).all()
        wanted.requires_grad_(False)


def test_a_plan_changes_nothing() -> None:
    counts = torch.from_numpy(COUNTS)
    scores, log_t = parameters(1)
    larger = plan_counts(torch.cat([counts, counts + 20.0]))
    own, other = (nb.softmax_log_prob(counts, scores, log_t, plan) for plan in (None, larger))
    torch.testing.assert_close(own, other, rtol=1e-13, atol=1e-12)


def test_models_can_be_batched_by_vmap() -> None:
    counts = torch.from_numpy(np.stack([COUNTS, COUNTS[::-1], COUNTS + 1.0]))
    scores, log_t = parameters(3)
    log_t = torch.stack([log_t, log_t + 0.5, log_t - 0.5])
    plan = plan_counts(counts)

    def loss(x: Tensor, s: Tensor, t: Tensor) -> Tensor:
        return nb.softmax_log_prob(x, s, t, plan).square().sum()

    batched = torch.vmap(torch.func.grad(loss, (1, 2)))(counts, scores, log_t)
    for k in range(3):
        alone = torch.func.grad(loss, (1, 2))(counts[k], scores[k], log_t[k])
        for a, b in zip(alone, batched, strict=True):
            torch.testing.assert_close(a, b[k])


@pytest.mark.parametrize("log_t", [12.0, 16.0, 20.0, 24.0, 30.0, 40.0, 80.0, 1e4])
@pytest.mark.parametrize("total", [4.0, 30.0, 1000.0])
def test_float32_is_poisson_for_large_inverse_dispersion(log_t: float, total: float) -> None:
    mean = total * np.array([0.05, 0.15, 0.2, 0.25, 0.35])
    counts = np.floor(mean)
    counts[4] += total - counts.sum()
    scores = torch.from_numpy(np.log(mean)).float().unsqueeze(0).requires_grad_()
    dispersion = torch.full((5,), log_t, requires_grad=True)
    x = torch.from_numpy(counts).float().unsqueeze(0)
    value = nb.softmax_log_prob(x, scores, dispersion) - nb.log_factorials(x)
    # log NB - log Poisson is ((x - m)^2 - x) / 2t to first order
    slope = ((counts - mean) ** 2 - counts) / (2.0 * np.exp(min(log_t, 700.0)))
    expected = stats.poisson.logpmf(counts, mean).sum() + slope.sum()
    rounding = 1e-4 + 2e-7 * total * np.log(total)  # of the factorials, which cancel
    assert value.item() == pytest.approx(expected, abs=rounding, rel=3e-6)
    value.sum().backward()
    assert scores.grad is not None
    assert dispersion.grad is not None
    np.testing.assert_allclose(scores.grad[0], counts - mean, atol=2e-3 * mean.max(), rtol=1e-3)
    # so small that no rounding drives the dispersion away
    np.testing.assert_allclose(dispersion.grad, -slope, atol=2e-6 * mean.max() + 1e-6, rtol=0.02)


@pytest.mark.parametrize("log_t", [-4.0, -1.0, 0.0, 2.0, 5.0])
@pytest.mark.parametrize("largest", [3, 31, 32, 300, 30_000])
def test_float32_is_float64(largest: int, log_t: float) -> None:
    rng = np.random.default_rng(largest)
    counts = rng.integers(0, largest + 1, size=(6, 8)).astype(float)
    scores = np.log(counts.mean(0) + 0.1) + 0.3 * rng.standard_normal((6, 8))
    args = [torch.from_numpy(a) for a in (counts, scores, np.linspace(log_t - 1, log_t + 1, 8))]
    results = []
    for dtype in (torch.float32, torch.float64):
        x, s, t = (a.to(dtype) for a in args)
        s.requires_grad_()
        t.requires_grad_()
        value = nb.softmax_log_prob(x, s, t)
        results.append((value, *torch.autograd.grad(value.sum(), (s, t))))
    # what float32 keeps of x log x, of x, and of a sum of x over the cells
    size = max(largest, 3)
    for single, double, scale in zip(
        *results, (8 * size * np.log(size), size, 6 * size), strict=True
    ):
        np.testing.assert_allclose(single.detach(), double.detach(), rtol=1e-5, atol=1e-6 * scale)


def test_extreme_scores_and_empty_cells_have_finite_values_and_gradients() -> None:
    scores = torch.tensor([[-80.0, 60.0, -80.0, 60.0], [0.0, 1.0, 2.0, 3.0]], requires_grad=True)
    log_t = torch.tensor([-200.0, 0.0, 200.0, -5.0], requires_grad=True)
    counts = torch.tensor([[0.0, 3.0, 2.0, 500.0], [0.0, 0.0, 0.0, 0.0]])
    log_p = nb.softmax_log_prob(counts, scores, log_t)
    log_p.sum().backward()
    for value in (log_p, scores.grad, log_t.grad):
        assert value is not None
        assert torch.isfinite(value).all()
    assert log_p[1].item() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("log_t", [-1.0, 1.0, 8.0])
def test_sample_moments(log_t: float) -> None:
    n = 40_000
    mean = np.array([0.3, 4.0, 60.0])
    means = torch.from_numpy(np.log(mean)).expand(n, 3)
    dispersion = torch.full((3,), log_t, dtype=torch.float64)
    drawn = nb.sample(means, dispersion, torch.Generator().manual_seed(0)).numpy()
    assert (drawn == np.round(drawn)).all()
    variance = mean + mean**2 / np.exp(log_t)
    np.testing.assert_array_less(np.abs(drawn.mean(0) - mean), 5.0 * np.sqrt(variance / n))
    t = np.exp(log_t)
    kurtosis = stats.nbinom.stats(t, t / (t + mean), moments="k")
    error = variance * np.sqrt((kurtosis + 2.0) / n)
    np.testing.assert_array_less(np.abs(drawn.var(0) - variance), 5.0 * error)


def test_sample_is_its_generators() -> None:
    means, log_t = parameters()
    a, b, c = (nb.sample(means, log_t, torch.Generator().manual_seed(s)) for s in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert a.shape == means.shape
