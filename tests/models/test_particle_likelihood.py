"""log p(x | z) of many particles, against decoder and likelihood one after the other in float64."""

import copy
from collections.abc import Callable

import pytest
import torch

from sparseshift import compiled
from sparseshift.data.cells import Cells
from sparseshift.data.design import Design
from sparseshift.models import particle_likelihood
from sparseshift.models.particle_likelihood import log_likelihood_of
from sparseshift.models.vae import PerturbationVAE

LABELS = ("control", "A", "B", "A+B")
MakeCells = Callable[..., Cells]
MakeDesign = Callable[..., Design]
MakeModel = Callable[..., PerturbationVAE]


@pytest.fixture(name="calls")
def watch_the_loop(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows of every call of the compiled loop."""
    calls, score = [], particle_likelihood._score

    def watched(z: object, *others: object) -> None:
        calls.append(len(z))  # type: ignore[arg-type]
        score(z, *others)

    monkeypatch.setattr(particle_likelihood, "_score", watched)
    return calls


@torch.no_grad()
def hold_to_torch(model: PerturbationVAE, cells: Cells, n_particles: int = 7) -> None:
    """The numbers are those of the model's parts in float64."""
    single = copy.deepcopy(model).float()
    of_single = cells._replace(counts=cells.counts.float(), design=cells.design.float())
    z = torch.randn(n_particles, cells.n_cells, model.n_latents, dtype=torch.float64)
    exact = model.likelihood.log_prob(cells.counts, model.decoder(z, model.covariates(cells)))
    found = log_likelihood_of(single, of_single)(z.float())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact, rtol=3e-5, atol=3e-4)
    torch.testing.assert_close(log_likelihood_of(model, cells)(z), exact, rtol=1e-12, atol=1e-10)


@pytest.mark.skipif(not compiled.available(), reason="numba is missing")
@pytest.mark.parametrize("preset", ["svae_plus", "sams_vae", "conditional_vae"])
@pytest.mark.parametrize("normalisation", ["batch", "none"])
@pytest.mark.parametrize("n_batches", [1, 3])
@pytest.mark.parametrize("n_layers", [1, 2, 3])
def test_particles_are_scored_as_by_torch(
    preset: str,
    normalisation: str,
    n_batches: int,
    n_layers: int,
    make_cells: MakeCells,
    make_design: MakeDesign,
    make_model: MakeModel,
    calls: list[int],
) -> None:
    options = {"normalisation": normalisation, "n_layers": n_layers}
    model = make_model(preset, LABELS, n_batches=n_batches, **options)
    cells = make_cells(make_design(preset, LABELS), LABELS, n_cells=10, n_batches=n_batches)
    hold_to_torch(model, cells)
    assert calls == [7 * 10]


@pytest.mark.parametrize("floats", [1, 50, 100, 10_000])
@pytest.mark.parametrize("off", [False, True])
def test_parts_change_nothing(
    floats: int,
    off: bool,
    make_cells: MakeCells,
    make_design: MakeDesign,
    make_model: MakeModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(particle_likelihood, "decoded_at_once", lambda _device: floats)
    model = make_model("svae_plus", LABELS)
    cells = make_cells(make_design("svae_plus", LABELS), LABELS, n_cells=9)
    if off:
        with compiled.switched_off():
            hold_to_torch(model, cells)
    else:
        hold_to_torch(model, cells)


@pytest.mark.parametrize("options", [{"normalisation": "layer"}, {"likelihood": "poisson"}])
def test_other_parts_are_left_to_torch(
    options: dict[str, str],
    make_cells: MakeCells,
    make_design: MakeDesign,
    make_model: MakeModel,
    calls: list[int],
) -> None:
    model = make_model("svae_plus", LABELS, **options)
    hold_to_torch(model, make_cells(make_design("svae_plus", LABELS), LABELS, n_cells=9))
    assert not calls


@torch.no_grad()
def test_in_training_mode_nothing_is_fixed(
    make_cells: MakeCells, make_design: MakeDesign, make_model: MakeModel, calls: list[int]
) -> None:
    model = make_model("svae_plus", LABELS, normalisation="batch").float().train()
    cells = make_cells(make_design("svae_plus", LABELS), LABELS, n_cells=9)
    cells = cells._replace(counts=cells.counts.float(), design=cells.design.float())
    z, twin = torch.randn(4, 9, 3), copy.deepcopy(model)
    expected = twin.likelihood.log_prob(cells.counts, twin.decoder(z))
    torch.testing.assert_close(log_likelihood_of(model, cells)(z), expected)
    assert not calls


@pytest.mark.skipif(not compiled.available(), reason="numba is missing")
@torch.no_grad()
def test_nan_is_not_lost(
    make_cells: MakeCells, make_design: MakeDesign, make_model: MakeModel
) -> None:
    model = make_model("svae_plus", LABELS).float()
    cells = make_cells(make_design("svae_plus", LABELS), LABELS, n_cells=9)
    cells = cells._replace(counts=cells.counts.float(), design=cells.design.float())
    z = torch.zeros(2, 9, 3)
    z[1, 4, 0] = torch.nan
    lost = log_likelihood_of(model, cells)(z).isnan()
    assert lost[1, 4]
    assert lost.sum() == 1
