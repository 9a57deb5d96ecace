"""The ELBO of a batch in one call, against `elbo_terms` in float64."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sparseshift import compiled
from sparseshift.data.cells import Cells
from sparseshift.data.design import Design
from sparseshift.models.build import build_model
from sparseshift.models.compiled_elbo import CompiledElbo
from sparseshift.models.networks import Hidden
from sparseshift.models.priors import ShiftNoise
from sparseshift.models.vae import Noise, PerturbationVAE
from sparseshift.presets import build_options
from sparseshift.probability.bounds import ElboTerms

pytestmark = pytest.mark.skipif(not compiled.available(), reason="numba is missing")

LABELS = ("control", "A", "B", "A+B")
Terms = Callable[[Cells, Noise, int], ElboTerms]


def model_of(
    preset: str = "svae_plus", n_genes: int = 9, n_batches: int = 1, **options: object
) -> PerturbationVAE:
    """A model in single precision, in training mode, with running statistics that are not the first ones."""
    chosen = build_options(preset, {"n_hidden": 16, "effect_start": 1.0, **options})
    design = Design.of_labels(LABELS, "control", additive=chosen.additive)
    model = build_model(chosen, design, n_genes=n_genes, n_batches=n_batches, n_latents=3, seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for value in [*model.parameters(), *model.buffers()]:
            if value.is_floating_point() and value.ndim == 1:
                value.add_(torch.rand(len(value), generator=generator))
    return model.train()


def cells_of(
    model: PerturbationVAE, n_cells: int = 24, n_batches: int = 1, share: float = 1.0
) -> Cells:
    """Cells in single precision, a share of whose counts is not zero."""
    rng = np.random.default_rng(n_cells)
    n_genes = len(model.decoder.scores.bias)
    counts = rng.poisson(rng.gamma(1.0, 4.0, size=(n_cells, n_genes))) + 1.0
    counts *= rng.random(counts.shape) < share
    counts[:, 0] += 1.0
    turn = torch.arange(n_cells)
    n_rows = model.prior.effect().shape[0]
    design = torch.eye(n_rows)[torch.arange(4) % n_rows] * (torch.arange(4) > 0).unsqueeze(1)
    return Cells(torch.tensor(counts).float(), turn % 4, (turn // 2) % n_batches, design)


def numbers(model: PerturbationVAE, terms: Terms, cells: Cells, noise: Noise) -> list[Tensor]:
    """Terms, gradients of a loss that weighs cells differently, and running statistics."""
    found = terms(cells, noise, 24)
    weight = torch.linspace(0.5, 1.5, cells.n_cells).to(found.kl_latent)
    loss = (weight * (0.3 * found.kl_latent - found.reconstruction)).sum() + found.kl_global
    parameters = list(model.parameters())
    slopes = torch.autograd.grad(loss, parameters, materialize_grads=True)
    return [part.detach().clone() for part in (*found, *slopes, *model.buffers())]


def in_double(cells: Cells) -> Cells:
    """The same cells in float64."""
    return cells._replace(counts=cells.counts.double(), design=cells.design.double())


def hold_to_torch(model: PerturbationVAE, cells: Cells, loops: CompiledElbo | None = None) -> None:
    """The numbers of the loops are those of torch in float64."""
    noise = model.draw_noise(cells, torch.Generator().manual_seed(0))
    plain = copy.deepcopy(model).double()
    exact = Noise(
        noise.latent.double(),
        ShiftNoise(*(None if part is None else part.double() for part in noise.shift)),
    )
    expected = numbers(plain, plain.elbo_terms, in_double(cells), exact)
    found = numbers(model, loops or CompiledElbo(model), cells, noise)
    for own, other in zip(found, expected, strict=True):
        scale = other.abs().max().item() if other.numel() else 1.0
        torch.testing.assert_close(own.to(other), other, rtol=0.0, atol=1e-5 * scale + 1e-9)


@pytest.mark.parametrize("preset", ["vae", "beta_vae", "ivae", "svae", "svae_plus"])
@pytest.mark.parametrize("n_batches", [1, 3])
def test_terms_gradients_and_statistics_are_those_of_torch(preset: str, n_batches: int) -> None:
    model = model_of(preset, n_batches=n_batches)
    assert CompiledElbo.fits(model)
    hold_to_torch(model, cells_of(model, n_batches=n_batches))


@pytest.mark.parametrize("share", [0.05, 0.9])
def test_many_genes_with_few_and_with_many_counts(share: float) -> None:
    model = model_of(n_genes=300)
    hold_to_torch(model, cells_of(model, share=share))


@pytest.mark.parametrize("n_layers", [1, 3])
def test_any_number_of_layers(n_layers: int) -> None:
    model = model_of(n_layers=n_layers)
    hold_to_torch(model, cells_of(model))


def test_log_variances_out_of_bounds_have_no_gradient() -> None:
    model = model_of()
    with torch.no_grad():
        model.encoder.head.bias[3:] += torch.tensor([-100.0, 0.0, 100.0])
    cells = cells_of(model)
    hold_to_torch(model, cells)
    terms = CompiledElbo(model)(cells, model.draw_noise(cells))
    (slope,) = torch.autograd.grad(terms.reconstruction.sum(), [model.encoder.head.bias])
    assert slope[3] == 0.0
    assert slope[4] != 0.0
    assert slope[5] == 0.0


def test_batches_of_any_size_in_turn() -> None:
    model = model_of()
    loops = CompiledElbo(model)
    for n_cells in (24, 23, 40, 24):
        hold_to_torch(model, cells_of(model, n_cells), loops)


def test_a_batch_that_was_overwritten_has_no_gradient() -> None:
    model = model_of()
    loops, cells = CompiledElbo(model), cells_of(model)
    first = loops(cells, model.draw_noise(cells)).reconstruction.sum()
    loops(cells, model.draw_noise(cells))
    with pytest.raises(RuntimeError, match="Another batch has overwritten"):
        first.backward()


def test_gradients_are_where_the_parameters_keep_theirs() -> None:
    model = model_of()
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    loops, cells = CompiledElbo(model), cells_of(model)
    loss = loops(cells, model.draw_noise(cells)).reconstruction.sum()
    slopes = torch.autograd.grad(loss, loops.parameters)
    for parameter, slope in zip(loops.parameters, slopes, strict=True):
        assert parameter.grad is not None
        assert slope.data_ptr() == parameter.grad.data_ptr()


@pytest.mark.parametrize("part", ["encoder.head", "decoder.scores"])
def test_nan_is_not_lost(part: str) -> None:
    model = model_of()
    with torch.no_grad():
        model.get_submodule(part).get_parameter("bias")[0] = torch.nan
    cells = cells_of(model)
    assert CompiledElbo(model)(cells, model.draw_noise(cells)).reconstruction.isnan().all()


def test_nan_is_not_lost_in_a_layer() -> None:
    model = model_of()
    with torch.no_grad():
        model.encoder.hidden.layers[0].weight[0, 0] = torch.nan
    cells = cells_of(model)
    assert CompiledElbo(model)(cells, model.draw_noise(cells)).reconstruction.isnan().all()


@pytest.mark.parametrize(
    "options",
    [
        {"dropout": 0.1},
        {"normalisation": "layer"},
        {"normalisation": "none"},
        {"likelihood": "poisson"},
        {"likelihood": "gaussian"},
    ],
)
def test_what_has_no_loops_does_not_fit(options: dict[str, Any]) -> None:
    assert not CompiledElbo.fits(model_of(**options))


@pytest.mark.parametrize("preset", ["sams_vae", "cpa_vae", "conditional_vae", "paper.svae_plus"])
def test_encoders_that_see_more_than_cells_do_not_fit_nor_does_dropout(preset: str) -> None:
    assert not CompiledElbo.fits(model_of(preset))


def test_neither_do_float64_linear_networks_a_held_decoder_or_loops_that_are_off() -> None:
    assert not CompiledElbo.fits(model_of().double())
    linear = model_of()
    linear.encoder.hidden = Hidden(9, [], "batch", 0.0)
    assert not CompiledElbo.fits(linear)
    held = model_of()
    held.decoder.held = True
    assert not CompiledElbo.fits(held)
    with compiled.switched_off():
        assert not CompiledElbo.fits(model_of())
