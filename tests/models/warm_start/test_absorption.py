"""New coordinates in the weights: what decodes to what does not change."""

from collections.abc import Callable
from functools import partial

import pytest
import torch

from sparseshift.data.cells import Cells
from sparseshift.data.design import Design
from sparseshift.models.vae import PerturbationVAE
from sparseshift.models.warm_start.absorption import absorb

LABELS = ("control", "A", "B")
MakeCells = Callable[..., Cells]
MakeModel = Callable[..., PerturbationVAE]
ATOL = {torch.float64: 1e-10, torch.float32: 1e-4}


def draws(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def change(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A, c and s^2 for three latents; A is well conditioned, not symmetric, not orthogonal."""
    a = torch.linalg.qr(draws(3, 3, seed=seed))[0] + 0.3 * draws(3, 3, seed=seed + 1).tanh()
    return a, draws(3, seed=seed + 2), draws(3, seed=seed + 3).square()


@pytest.mark.parametrize("dtype", list(ATOL), ids=str)
@pytest.mark.parametrize("n_batches", [1, 2])
@torch.no_grad()
def test_the_same_cells_decode_to_the_same_proportions(
    n_batches: int, dtype: torch.dtype, make_cells: MakeCells, make_model: MakeModel
) -> None:
    model = make_model("vae", LABELS, n_batches=n_batches).to(dtype)
    design = Design.of_labels(LABELS, "control", additive=True)
    cells = make_cells(design, LABELS, n_batches=n_batches)
    a, c, s2 = (t.to(dtype) for t in change())
    z = draws(24, 3, seed=9).to(dtype)
    covariates = model.covariates(cells)
    decoded = model.decoder(z, covariates)
    mean, _ = model.encoder(cells.counts.to(dtype))
    reconstructed = model.decoder(mean, covariates)
    absorb(model, a, c, s2)
    new_mean, _ = model.encoder(cells.counts.to(dtype))
    close = partial(torch.testing.assert_close, rtol=0.0, atol=ATOL[dtype])
    close(new_mean, (mean - c) @ a.T)
    close(model.decoder((z - c) @ a.T, covariates), decoded)
    close(model.decoder(new_mean, covariates), reconstructed)


@torch.no_grad()
def test_every_cell_gets_the_average_posterior_variance_of_the_new_latents(
    make_cells: MakeCells, make_model: MakeModel
) -> None:
    model = make_model("vae", LABELS)
    cells = make_cells(Design.of_labels(LABELS, "control", additive=True), LABELS)
    _, std = model.encoder(cells.counts)
    a, c, _ = change()
    expected = torch.stack([(a @ s.square().diag() @ a.T).diagonal() for s in std]).mean(0)
    absorb(model, a, c, std.square().mean(0))
    _, new_std = model.encoder(cells.counts)
    torch.testing.assert_close(new_std.square(), expected.expand(24, 3))


@torch.no_grad()
def test_there_and_back_is_the_same_model(make_model: MakeModel) -> None:
    model = make_model("vae", LABELS, n_batches=2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    a, c, s2 = change()
    absorb(model, a, c, s2)
    absorb(model, torch.linalg.inv(a), -a @ c, s2)
    for name, value in model.state_dict().items():
        means = slice(3) if name.startswith("encoder.head") else slice(None)  # not log variances
        if value.ndim:
            torch.testing.assert_close(value[..., means], before[name][..., means])
        else:
            assert torch.equal(value, before[name])


def test_parameters_stay_where_they_are(make_model: MakeModel) -> None:
    model = make_model("vae", LABELS)
    places = {name: p.data_ptr() for name, p in model.named_parameters()}
    absorb(model, *change())
    assert {name: p.data_ptr() for name, p in model.named_parameters()} == places
    assert all(p.requires_grad and p.is_leaf for p in model.parameters())
