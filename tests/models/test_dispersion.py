"""Dispersions of genes one by one: the likelihood's maximum, and where training starts from."""

import numpy as np
import pytest
import torch
from scipy import optimize, stats

from sparseshift.data.cells import Cells
from sparseshift.models.dispersion import (
    log_inverse_dispersion,
    marginal_log_inverse_dispersion,
)
from sparseshift.models.likelihoods import NegativeBinomial, likelihood

N_CELLS = 1500
THETA = np.array([0.002, 0.05, 1.0, 20.0])
MEAN = np.array([0.01, 0.1, 0.3, 0.59])


@pytest.fixture
def cells() -> Cells:
    """Genes from bursts to nearly Poisson, one that is not there, one without overdispersion."""
    rng = np.random.default_rng(0)
    totals = rng.integers(200, 600, size=(N_CELLS, 1))
    rate = rng.gamma(THETA, 1 / THETA, size=(N_CELLS, 4))
    poisson = np.full((N_CELLS, 1), 3.0)
    drawn = rng.poisson(np.hstack([totals * MEAN * rate, poisson]))
    counts = torch.from_numpy(np.hstack([drawn, np.zeros_like(drawn[:, :1])])).float()
    label = torch.arange(N_CELLS) % 2
    return Cells(counts, label, torch.zeros_like(label), torch.eye(2)[:, 1:])


def best_log_theta(counts: np.ndarray, mean: np.ndarray) -> float:
    """By scipy, of one gene."""

    def loss(log_theta: float) -> float:
        t = np.exp(log_theta)
        return -float(stats.nbinom.logpmf(counts, t, t / (t + mean)).sum())

    found = optimize.minimize_scalar(loss, bounds=(-12.0, 14.0), method="bounded")
    return float(found.x)


def test_it_is_the_maximum_that_scipy_finds(cells: Cells) -> None:
    proportion = torch.stack([torch.full((6,), 1 / 6), torch.linspace(0.1, 0.2333, 6)]).double()
    proportion = proportion / proportion.sum(1, keepdim=True)
    found = log_inverse_dispersion(cells, proportion.log())
    mean = (cells.counts.sum(1, keepdim=True) * proportion[cells.label]).numpy()
    for gene in range(4):
        expected = best_log_theta(cells.counts[:, gene].numpy(), mean[:, gene])
        assert found[gene].item() == pytest.approx(expected, abs=0.01)


def test_all_cells_alike_gives_the_dispersion_they_were_drawn_with(cells: Cells) -> None:
    # the total of the cell is drawn too: of genes with small shares alone is it as good as given
    found = marginal_log_inverse_dispersion(cells).exp().numpy()
    totals = cells.counts.sum(1, keepdim=True).numpy()
    share = cells.counts.sum(0).numpy() / totals.sum()
    for gene in range(4):
        counts = cells.counts[:, gene].numpy()
        expected = best_log_theta(counts, totals[:, 0] * share[gene])
        assert np.log(found[gene]) == pytest.approx(expected, abs=0.15)
    assert found[0] < 0.01
    assert found[2] < found[3]
    assert np.isfinite(found).all()  # also of the gene that is not there


def test_training_starts_there(cells: Cells) -> None:
    model = NegativeBinomial(6)
    model.observe(cells)
    expected = marginal_log_inverse_dispersion(cells)
    assert torch.equal(model.log_inverse_dispersion.detach(), expected)
    assert model.log_inverse_dispersion.requires_grad


@pytest.mark.parametrize("name", ["poisson", "gaussian"])
def test_other_likelihoods_start_where_they_did(name: str, cells: Cells) -> None:
    model = likelihood(name, 6)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model.observe(cells)
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])
