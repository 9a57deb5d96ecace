"""Independent negative binomials: closed forms, known truths, and what shrinking is for."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from sparseshift.data.cells import Cells
from sparseshift.models.likelihoods import NegativeBinomial
from sparseshift.models.nb_baseline import (
    IndependentGenes,
    PooledCells,
    fit_independent_genes,
    pool,
    support_proportion,
)

GENES = 60


class Truth:
    """Perturbations whose proportions are Gamma around a mean, and cells of them."""

    def __init__(self, *, seed: int = 0, between: float = 0.3, theta: float = 3.0) -> None:
        self.rng = np.random.default_rng(seed)
        mean = self.rng.gamma(1.0, size=GENES) + 0.05
        self.mean = mean / mean.sum()
        self.between = between
        self.theta = theta

    def proportion(self, n: int) -> np.ndarray:
        """Of n perturbations, (n, genes)."""
        fold = self.rng.gamma(1 / self.between, self.between, size=(n, GENES))
        p = self.mean * fold
        return np.asarray(p / p.sum(1, keepdims=True))

    def cells(self, proportion: np.ndarray, n: int) -> Tensor:
        """Counts of n cells, (n, genes) float32."""
        totals = self.rng.integers(300, 900, size=(n, 1))
        rate = self.rng.gamma(self.theta, 1 / self.theta, size=(n, GENES))
        return torch.from_numpy(self.rng.poisson(totals * proportion * rate).astype(np.float32))


def with_labels(groups: list[Tensor]) -> Cells:
    """Cells of several labels, the first of which is the control."""
    label = torch.repeat_interleave(
        torch.arange(len(groups)), torch.tensor([len(g) for g in groups])
    )
    design = torch.eye(len(groups))[:, 1:]
    return Cells(torch.cat(groups), label, torch.zeros_like(label), design)


def fitted_to(truth: Truth, n_perturbations: int = 40, n_cells: int = 80) -> IndependentGenes:
    """Independent genes fitted to perturbations of the truth, and a control at its mean."""
    groups = [truth.cells(p, n_cells) for p in truth.proportion(n_perturbations)]
    cells = with_labels([truth.cells(truth.mean, 300), *groups])
    return fit_independent_genes(cells, cells.design.any(1))


def given(truth: Truth, **changes: Tensor) -> IndependentGenes:
    """The truth itself, or a part of it replaced."""
    values = {
        "mean": torch.from_numpy(truth.mean),
        "log_inverse_dispersion": torch.full((GENES,), float(np.log(truth.theta))).double(),
        "between": torch.full((GENES,), truth.between).double(),
    }
    return IndependentGenes(**{**values, **changes})


@pytest.fixture(scope="module")
def truth() -> Truth:
    """The usual one."""
    return Truth()


@pytest.fixture(scope="module")
def fitted() -> IndependentGenes:
    """To forty perturbations."""
    return fitted_to(Truth())


def test_log_likelihood_is_scipys(truth: Truth) -> None:
    model = given(truth, log_inverse_dispersion=torch.linspace(-2.0, 4.0, GENES).double())
    counts = truth.cells(truth.mean, 30)
    theta = model.log_inverse_dispersion.exp().numpy()
    p = truth.proportion(1)[0]
    m = counts.numpy().sum(1, keepdims=True) * p
    expected = stats.nbinom.logpmf(counts.numpy(), theta, theta / (theta + m)).sum(1)
    for proportion in (torch.from_numpy(p), torch.from_numpy(p).expand(30, -1)):
        found = model.log_prob_of(counts)(proportion)
        assert found.dtype == torch.float32
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)
    exact = model.log_prob_of(counts.double())(torch.from_numpy(p))
    np.testing.assert_allclose(exact.numpy(), expected, rtol=1e-11)


def test_it_is_the_likelihood_of_the_models(truth: Truth) -> None:
    likelihood = NegativeBinomial(GENES)
    with torch.no_grad():
        likelihood.log_inverse_dispersion.copy_(torch.linspace(-1.0, 3.0, GENES))
    counts, p = truth.cells(truth.mean, 7), torch.from_numpy(truth.proportion(1)[0])
    theta = likelihood.log_inverse_dispersion.detach().double()
    scores = (
        p.log().float().expand(7, -1).contiguous() + 2.5
    )  # scores mean the same up to a constant
    of_model = likelihood.prepared(counts)(scores) + likelihood.constant(counts)
    own = given(truth, log_inverse_dispersion=theta).log_prob_of(counts)(p)
    np.testing.assert_allclose(own.numpy(), of_model.numpy(), rtol=1e-5)


def test_raw_proportions_have_half_a_count_more() -> None:
    counts = torch.tensor([[3.0, 0.0, 1.0], [4.0, 0.0, 0.0]])
    found = support_proportion(pool(counts))
    np.testing.assert_allclose(found.numpy(), np.array([7.5, 0.5, 1.5]) / 9.5)


def test_without_overdispersion_shrinking_is_the_gamma_posterior(truth: Truth) -> None:
    between = torch.linspace(0.01, 2.0, GENES).double()
    model = given(
        truth, between=between, log_inverse_dispersion=torch.full((GENES,), 60.0).double()
    )
    support = pool(truth.cells(truth.proportion(1)[0], 4))
    # p / pi ~ Gamma(1 / tau^2, rate 1 / tau^2), S ~ Poisson(T pi p / pi)
    shape, rate = 1 / between + support.counts, 1 / between + support.total * model.mean
    expected = model.mean * shape / rate
    np.testing.assert_allclose(model.shrunk(support), expected / expected.sum(), rtol=1e-8)


def test_the_variance_within_is_that_of_pooled_cells(truth: Truth) -> None:
    totals = np.array([300.0, 500.0, 1200.0])
    rng = np.random.default_rng(0)
    m, t = totals[:, None] * truth.mean, truth.theta
    drawn = rng.poisson(m * rng.gamma(t, 1 / t, size=(20_000, 3, GENES))).sum(1)
    ratio = drawn / (totals.sum() * truth.mean)
    support = PooledCells(
        torch.zeros(GENES), torch.tensor(totals.sum()), torch.tensor((totals**2).sum())
    )
    np.testing.assert_allclose(given(truth)._within(support), ratio.var(0), rtol=0.12)


def test_shrinking_ends_at_the_mean_and_at_the_support(truth: Truth) -> None:
    own = truth.proportion(1)[0]
    support = pool(truth.cells(own, 5))
    model = given(truth)
    none = pool(torch.zeros(0, GENES))
    np.testing.assert_allclose(model.shrunk(none), truth.mean)
    alike = given(truth, between=torch.zeros(GENES).double())
    np.testing.assert_allclose(alike.shrunk(support), truth.mean)
    much = PooledCells(*(part * 1e9 for part in support))
    much = much._replace(squared=support.squared * 1e9)  # a billion times as many cells
    np.testing.assert_allclose(
        model.shrunk(much), support.counts / support.total, rtol=1e-6, atol=1e-9
    )


def test_several_supports_at_once(truth: Truth, fitted: IndependentGenes) -> None:
    each = [pool(truth.cells(p, 5)) for p in truth.proportion(3)]
    together = PooledCells(*(torch.stack(parts) for parts in zip(*each, strict=True)))
    for rows in (fitted.shrunk(together), support_proportion(together)):
        np.testing.assert_allclose(rows.sum(1), 1.0)
    for i, one in enumerate(each):
        np.testing.assert_allclose(fitted.shrunk(together)[i], fitted.shrunk(one))
        np.testing.assert_allclose(support_proportion(together)[i], support_proportion(one))


def test_the_fit_finds_the_truth(truth: Truth, fitted: IndependentGenes) -> None:
    assert fitted.mean.sum().item() == pytest.approx(1.0)
    ratio = fitted.mean.numpy() / truth.mean
    assert np.abs(ratio - 1.0).mean() < 0.1  # its error is sqrt(.3 / 40) = .09
    theta = fitted.log_inverse_dispersion.exp().numpy()
    assert np.median(theta) == pytest.approx(truth.theta, rel=0.1)
    # divided by their sum, proportions vary a little less than the folds they are made of
    assert fitted.between.mean().item() == pytest.approx(truth.between, rel=0.15)


def test_the_dispersion_maximises_the_likelihood(truth: Truth) -> None:
    counts = [truth.cells(p, 50) for p in truth.proportion(4)]
    cells = with_labels(counts)
    fitted = fit_independent_genes(cells, cells.design.any(1))
    theta = fitted.log_inverse_dispersion.exp().numpy()
    own = torch.stack([(c.double().sum(0) + fitted.mean) / (c.double().sum() + 1) for c in counts])
    m = (cells.counts.sum(1, keepdim=True) * own[cells.label]).numpy()
    x = cells.counts.numpy()

    def log_likelihood(t: np.ndarray) -> np.ndarray:
        return np.asarray(stats.nbinom.logpmf(x, t, t / (t + m)).sum(0))

    inside = (theta > 0.01) & (theta < 1e5)
    assert inside.mean() > 0.9
    for factor in (0.97, 1.03):
        assert (log_likelihood(theta) >= log_likelihood(theta * factor))[inside].all()


def test_counts_without_overdispersion_are_poisson() -> None:
    truth = Truth(theta=1e6)
    assert fitted_to(truth, 5).log_inverse_dispersion.exp().median() > 50.0


def test_perturbations_that_do_nothing_are_shrunk_all_the_way() -> None:
    truth = Truth(between=1e-6)
    fitted = fitted_to(truth)
    assert fitted.between.mean() < 0.02
    support = pool(truth.cells(truth.mean, 5))
    far = (support_proportion(support) / fitted.mean - 1.0).abs().mean()
    assert (fitted.shrunk(support) / fitted.mean - 1.0).abs().mean() < 0.2 * far


def test_one_perturbation_says_nothing_of_others(truth: Truth) -> None:
    cells = with_labels([truth.cells(truth.mean, 50), truth.cells(truth.proportion(1)[0], 50)])
    fitted = fit_independent_genes(cells, cells.design.any(1))
    assert (fitted.between == 0.0).all()
    pooled = pool(cells.counts[50:])
    np.testing.assert_allclose(fitted.mean, pooled.counts / pooled.total, atol=1e-4)


def test_every_perturbation_counts_the_same_and_the_control_not_at_all(truth: Truth) -> None:
    p = truth.proportion(3)
    groups = [truth.cells(p[0], 200), truth.cells(p[1], 10), truth.cells(p[2], 100)]
    fitted = fit_independent_genes(with_labels(groups), torch.tensor([False, True, True]))
    each = [pool(group) for group in groups[1:]]
    expected = torch.stack([one.counts / one.total for one in each]).mean(0)
    np.testing.assert_allclose(fitted.mean, expected, atol=1e-4)


def test_a_gene_that_nobody_shows_stays_possible(truth: Truth) -> None:
    groups = [truth.cells(p, 30) for p in truth.proportion(4)]
    for group in groups:
        group[:, 0] = 0.0
    cells = with_labels(groups)
    fitted = fit_independent_genes(cells, cells.design.any(1))
    query = truth.cells(truth.mean, 20)
    query[:, 0] = 1.0
    support = pool(groups[0][:5])
    for proportion in (fitted.mean, fitted.shrunk(support), support_proportion(support)):
        assert fitted.log_prob_of(query)(proportion).isfinite().all()


def test_order_of_cells_does_not_matter(truth: Truth) -> None:
    cells = with_labels([truth.cells(p, 30) for p in truth.proportion(5)])
    mixed = cells.take(torch.randperm(150, generator=torch.Generator().manual_seed(0)))
    perturbed = cells.design.any(1)
    for a, b in zip(
        fit_independent_genes(cells, perturbed),
        fit_independent_genes(mixed, perturbed),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=0.02)


def test_shrinking_helps_few_cells_and_leaves_many_alone(
    truth: Truth, fitted: IndependentGenes
) -> None:
    gains: dict[int, list[tuple[float, float]]] = {5: [], 20_000: []}
    for own in truth.proportion(15):
        log_prob = fitted.log_prob_of(truth.cells(own, 200))
        for n, found in gains.items():
            support = pool(truth.cells(own, n))
            shrunk = log_prob(fitted.shrunk(support)).mean().item()
            raw = log_prob(support_proportion(support)).mean().item()
            found.append((shrunk - raw, shrunk - log_prob(fitted.mean).mean().item()))
    few = np.array(gains[5])
    assert (few.mean(0) > 4.0 * few.std(0) / np.sqrt(len(few))).all()
    many = np.array(gains[20_000])
    np.testing.assert_allclose(many[:, 0], 0.0, atol=0.02)
    assert (many[:, 1] > 1.0).all()
