"""The validation ELBO against one written out."""

from collections.abc import Callable

import pytest
import torch

from sparseshift.data.cells import Cells
from sparseshift.data.design import Design
from sparseshift.models.vae import PerturbationVAE
from sparseshift.presets import PRESETS
from sparseshift.training.validation import Validation, validate

LABELS = ("control", "A", "B", "A+B")
MakeCells = Callable[..., Cells]
MakeDesign = Callable[..., Design]
MakeModel = Callable[..., PerturbationVAE]


@pytest.mark.parametrize("preset", PRESETS)
@torch.no_grad()
def test_every_number_is_that_computed_by_hand(
    preset: str, make_cells: MakeCells, make_design: MakeDesign, make_model: MakeModel
) -> None:
    cells = make_cells(make_design(preset, LABELS), LABELS, n_cells=20)
    # 9 cells of one label, 2 of another, none of a third
    cells = cells.take(torch.tensor([i for i in range(20) if i % 4 != 2 and (i % 4 or i < 8)]))
    assert torch.bincount(cells.label, minlength=4).tolist() == [2, 5, 0, 5]
    model = make_model(preset, LABELS, beta=3.0)
    score = validate(model, cells, penalty=0.7)
    noise = model.draw_noise(cells, torch.Generator().manual_seed(0))
    terms = model.elbo_terms(cells, noise)
    reconstruction = terms.reconstruction + model.likelihood.constant(cells.counts)
    assert score.reconstruction == pytest.approx(reconstruction.mean().item())
    assert score.kl == pytest.approx(terms.kl_latent.mean().item())
    assert score.negative_elbo == pytest.approx(score.kl + 0.7 - score.reconstruction)
    for macro, beta in ((score.negative_elbo_macro, 1.0), (score.objective_macro, 3.0)):
        means = []
        for label in (0, 1, 3):
            own = cells.label == label
            value = beta * (terms.kl_latent[own] + 0.7) - reconstruction[own]
            means.append(value.mean().item())
        assert macro == pytest.approx(sum(means) / 3)
    costs, gains = [], []
    for label in (0, 1, 3):
        own = cells.label == label
        costs.append(3.0 * (terms.kl_latent[own].mean().item() + 0.7))
        gains.append(reconstruction[own].mean().item())
    assert score.kl_cost_macro == pytest.approx(sum(costs) / 3)
    assert score.objective_macro == pytest.approx(score.kl_cost_macro - sum(gains) / 3)


@torch.no_grad()
def test_the_same_model_has_the_same_score(
    make_cells: MakeCells, make_design: MakeDesign, make_model: MakeModel
) -> None:
    cells = make_cells(make_design("sams_vae", LABELS), LABELS)
    model = make_model("sams_vae", LABELS)
    torch.manual_seed(0)
    first = validate(model, cells, 0.0)
    torch.manual_seed(1)
    assert validate(model, cells, 0.0) == first


@torch.no_grad()
def test_chunks_change_nothing_but_the_draws(
    make_cells: MakeCells,
    make_design: MakeDesign,
    make_model: MakeModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cells = make_cells(make_design("svae_plus", LABELS), LABELS)
    model = make_model("svae_plus", LABELS)
    whole = validate(model, cells, 0.3)
    monkeypatch.setattr("sparseshift.data.cells.CHUNK", 5 * cells.n_genes)
    chunked = validate(model, cells, 0.3)
    # the KL has no draws with masks averaged out
    assert chunked.kl == pytest.approx(whole.kl)
    assert chunked.reconstruction == pytest.approx(whole.reconstruction, rel=0.2)


def test_without_cells_there_is_no_score() -> None:
    assert all(value != value for value in Validation())  # noqa: PLR0124 NaN
