"""A posterior of its own for each cell: closed forms, and independence of the other cells."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sparseshift.data.cells import Cells
from sparseshift.models.cell_posteriors import CellPosteriors, cosine, refined_means
from sparseshift.models.likelihoods import TARGET_TOTAL, likelihood
from sparseshift.models.networks import Decoder, Encoder, Hidden
from sparseshift.models.priors import StandardNormalPrior
from sparseshift.models.vae import PerturbationVAE

N_CELLS, N_GENES, N_LATENTS = 40, 12, 3


def everyone(posteriors: CellPosteriors) -> Tensor:
    return torch.arange(len(posteriors.mean))


def test_descending_finds_each_cells_own_optimum() -> None:
    generator = torch.Generator().manual_seed(0)
    target = 3.0 * torch.randn(20, 4, generator=generator, dtype=torch.float64)
    scale = torch.rand(20, 1, generator=generator, dtype=torch.float64) * 100.0
    posteriors = CellPosteriors(torch.zeros(20, 2).double(), torch.ones(20, 2).double())
    for step in range(400):
        for index in torch.randperm(20, generator=generator).split(7):
            own = posteriors.take(index)
            loss = (scale[index] * (own - target[index]).square()).sum()
            (gradient,) = torch.autograd.grad(loss, own)
            posteriors.descend(index, gradient, 0.3 * cosine(step / 400))
    torch.testing.assert_close(posteriors.values, target, atol=1e-3, rtol=0)
    assert (posteriors.visits == 400).all()


def test_a_step_is_as_long_as_its_rate_whatever_the_scale() -> None:
    posteriors = CellPosteriors(torch.zeros(2, 1).double(), torch.ones(2, 1).double())
    gradient = torch.tensor([[5.0, -0.1], [1e6, 1e3]]).double()
    posteriors.descend(everyone(posteriors), gradient, 0.25)
    expected = torch.tensor([[-0.25, 0.25], [-0.25, -0.25]]).double()
    torch.testing.assert_close(posteriors.values, expected, atol=1e-5, rtol=1e-4)


def test_cells_that_are_not_visited_stay() -> None:
    posteriors = CellPosteriors(torch.zeros(3, 1), torch.ones(3, 1))
    posteriors.descend(torch.tensor([1]), torch.ones(1, 2), 1.0)
    assert posteriors.values[[0, 2]].abs().max() == 0.0
    assert posteriors.visits.flatten().tolist() == [0.0, 1.0, 0.0]


@pytest.fixture
def cells() -> Cells:
    generator = torch.Generator().manual_seed(1)
    counts = torch.poisson(
        20.0 * torch.rand(N_CELLS, N_GENES, generator=generator), generator=generator
    )
    codes = torch.zeros(N_CELLS, dtype=torch.int64)
    return Cells(counts.double() + 1.0, codes, codes, torch.ones(1, 1).double())


@pytest.fixture
def linear() -> PerturbationVAE:
    """Linear decoder, Gaussian likelihood: the posterior is a Gaussian in closed form."""
    torch.manual_seed(2)
    model = PerturbationVAE(
        Encoder(Hidden(N_GENES, [8], "none", 0.0), N_LATENTS),
        Decoder(Hidden(N_LATENTS, [], "none", 0.0), N_GENES),
        StandardNormalPrior(1, N_LATENTS),
        likelihood("gaussian", N_GENES),
    )
    with torch.no_grad():
        model.likelihood.log_scale.uniform_(-1.0, 0.5)  # type: ignore[operator]
        model.decoder.scores.bias.add_(5.0)
    return model.double().eval()


def test_means_are_those_of_bayesian_linear_regression(
    linear: PerturbationVAE, cells: Cells
) -> None:
    variance = torch.tensor([1.0, 2.0, 5.0]).double()
    found = refined_means(linear, cells, variance, n_steps=600, rate=0.2)
    weight, bias = linear.decoder.scores.weight.detach().T, linear.decoder.scores.bias.detach()
    precision = (-2.0 * linear.likelihood.log_scale.detach()).exp()  # type: ignore[operator]
    totals = cells.counts.sum(1, keepdim=True)
    values = (cells.counts * (TARGET_TOTAL / totals)).log1p() - bias
    system = weight.T @ (precision.unsqueeze(1) * weight) + torch.diag(1.0 / variance)
    expected = torch.linalg.solve(system, weight.T @ (precision.unsqueeze(1) * values.T)).T
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0)


def test_no_steps_give_the_encoder(linear: PerturbationVAE, cells: Cells) -> None:
    found = refined_means(linear, cells, torch.ones(N_LATENTS).double(), n_steps=0)
    torch.testing.assert_close(found, linear.posterior(cells)[0])


def test_a_cell_does_not_depend_on_those_beside_it(
    linear: PerturbationVAE, cells: Cells, make_batches: Callable[[Cells], list[Cells]]
) -> None:
    ones = torch.ones(N_LATENTS).double()
    whole = refined_means(linear, cells, ones, n_steps=20)
    parts = [refined_means(linear, part, ones, n_steps=20) for part in make_batches(cells)]
    torch.testing.assert_close(torch.cat(parts), whole)


@pytest.fixture
def make_batches() -> Callable[[Cells], list[Cells]]:
    return lambda cells: [cells.take(index) for index in torch.arange(N_CELLS).split(7)]


def test_nothing_of_the_model_changes(linear: PerturbationVAE, cells: Cells) -> None:
    before = {name: value.clone() for name, value in linear.state_dict().items()}
    refined_means(linear, cells, torch.ones(N_LATENTS).double(), n_steps=3)
    assert all(torch.equal(before[name], value) for name, value in linear.state_dict().items())
    assert all(parameter.grad is None for parameter in linear.parameters())
