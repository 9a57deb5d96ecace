"""Closed-form adaptation against what it is the closed form of."""

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from sparseshift.data.cells import Cells
from sparseshift.data.design import Design
from sparseshift.models.adaptation import adapted_prior, with_new_rows
from sparseshift.models.priors import ShiftNoise, ShiftPrior, StandardNormalPrior
from sparseshift.models.vae import Noise, PerturbationVAE
from sparseshift.presets import PRESETS
from sparseshift.probability.masked_shift import shift_moments

TRAINED = ("control", "A", "B")
MakeCells = Callable[..., Cells]
MakeModel = Callable[..., PerturbationVAE]
closed_form_presets = pytest.mark.parametrize(
    "preset",
    [
        name
        for name, preset in PRESETS.items()
        if preset.adaptation == "closed_form" and preset.options.shift != "none"
    ],
)


def shifts(prior: ShiftPrior, design: Tensor) -> Tensor:
    """Expected shift of each row of a design."""
    return shift_moments(design, prior.inclusion_probability(), prior.effect())[0].detach()


@torch.no_grad()
def adapt(model: PerturbationVAE, cells: Cells, n_known: int = 2) -> tuple[ShiftPrior, Tensor]:
    """The adapted prior, and the posterior means of the support cells."""
    mean = model.posterior(cells)[0]
    prior = adapted_prior(model.prior, mean, cells, n_known)
    assert isinstance(prior, ShiftPrior)
    return prior, mean


def support_of(
    make_cells: MakeCells, labels: tuple[str, ...], n_cells: int, *, additive: bool = True
) -> Cells:
    """Support cells whose design has A and B first."""
    trained = Design.of_labels(TRAINED, "control", additive=additive)
    return make_cells(trained.extend(trained.unknown(labels)), labels, n_cells=n_cells)


@closed_form_presets
def test_a_new_single_is_at_the_mean_of_its_cells(
    preset: str, make_cells: MakeCells, make_model: MakeModel
) -> None:
    model = make_model(preset, TRAINED)
    cells = support_of(make_cells, ("C", "D"), 11)
    prior, mean = adapt(model, cells)
    for row, code in ((2, 0), (3, 1)):
        torch.testing.assert_close(prior.effect()[row].detach(), mean[cells.label == code].mean(0))
    assert (prior.inclusion_probability()[2:] == 1).all()


@pytest.mark.parametrize(
    "labels",
    [("C",), ("C", "D", "A+C", "C+D"), ("A+C", "B+D", "A", "control"), ("C+D", "C", "A+B+C+D")],
)
def test_closed_form_is_where_gradient_descent_ends(
    labels: tuple[str, ...], make_cells: MakeCells, make_model: MakeModel
) -> None:
    model = make_model("svae_plus", TRAINED)
    cells = support_of(make_cells, labels, 26)
    prior, mean = adapt(model, cells)
    std = model.encoder(cells.counts)[1].detach()
    descended = copy.deepcopy(prior)
    n_new = len(prior.effect()) - 2
    new = torch.zeros(n_new, 3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([new], max_iter=200, tolerance_grad=1e-12, tolerance_change=0)

    def kl(effects: Tensor) -> Tensor:
        moments = shift_moments(
            cells.design,
            descended.inclusion_probability(),
            torch.cat([descended.effect().detach()[:2], effects]),
        )
        squared = (mean - moments[0][cells.label]).square() + moments[1][cells.label]
        return 0.5 * (squared + std.square() - 1.0 - 2.0 * std.log()).sum()

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = kl(new)
        loss.backward()
        return loss

    optimizer.step(closure)
    torch.testing.assert_close(new.detach(), prior.effect().detach()[2:], atol=1e-6, rtol=1e-6)
    # and it is the KL of the ELBO that was minimised
    of_model = prior.shift(cells, ShiftNoise()).kl_divergence(mean, std).sum().detach()
    torch.testing.assert_close(of_model, kl(prior.effect().detach()[2:]))


def test_elbo_is_highest_at_the_closed_form(make_cells: MakeCells, make_model: MakeModel) -> None:
    model = make_model("svae_plus", TRAINED)
    cells = support_of(make_cells, ("C", "A+C", "D"), 24)
    prior, _ = adapt(model, cells)
    adapted = with_new_rows(model, prior).eval()
    noise = Noise(torch.zeros(24, 3, dtype=torch.float64))
    best = adapted.elbo_terms(cells, noise).kl_latent.sum().item()
    rng = np.random.default_rng(0)
    for _ in range(20):
        with torch.no_grad():
            step = torch.zeros_like(prior.effects.table)
            step[2:] = torch.from_numpy(rng.normal(0.0, 0.1, size=(2, 3)))
            prior.effects.table += step
            assert adapted.elbo_terms(cells, noise).kl_latent.sum().item() > best
            prior.effects.table -= step


def test_a_double_with_one_trained_parent_gets_the_rest(
    make_cells: MakeCells, make_model: MakeModel
) -> None:
    model = make_model("svae_plus", TRAINED)
    cells = support_of(make_cells, ("A+C",), 10)
    prior, mean = adapt(model, cells)
    parent = (model.prior.inclusion_probability() * model.prior.effect())[0].detach()
    torch.testing.assert_close(prior.effect()[2].detach(), mean.mean(0) - parent)
    torch.testing.assert_close(shifts(prior, cells.design)[0], mean.mean(0))


def test_of_two_new_parts_seen_only_together_the_sum_is_found(
    make_cells: MakeCells, make_model: MakeModel
) -> None:
    model = make_model("svae_plus", TRAINED)
    cells = support_of(make_cells, ("C+D",), 10)
    prior, mean = adapt(model, cells)
    c, d = prior.effect()[2:].detach()
    torch.testing.assert_close(c + d, mean.mean(0))
    torch.testing.assert_close(c, d)


def test_cells_weigh_alike_whatever_their_label(
    make_cells: MakeCells, make_model: MakeModel
) -> None:
    model = make_model("svae_plus", TRAINED)
    cells = support_of(make_cells, ("C", "A+C"), 12)
    unequal = cells._replace(label=(torch.arange(12) > 8).long())
    prior, mean = adapt(model, unequal)
    parent = (model.prior.inclusion_probability() * model.prior.effect())[0].detach()
    residual = mean - unequal.label.unsqueeze(1) * parent
    torch.testing.assert_close(prior.effect()[2].detach(), residual.mean(0))


def test_cells_of_trained_perturbations_change_nothing(
    make_cells: MakeCells, make_model: MakeModel
) -> None:
    model = make_model("svae_plus", TRAINED)
    cells = support_of(make_cells, ("C", "A", "control", "A+B"), 20)
    alone = cells.take((cells.label == 0).nonzero().squeeze(1))
    torch.testing.assert_close(adapt(model, cells)[0].effect(), adapt(model, alone)[0].effect())


@closed_form_presets
def test_trained_rows_and_the_trained_prior_stay(
    preset: str, make_cells: MakeCells, make_model: MakeModel
) -> None:
    model = make_model(preset, TRAINED)
    before = copy.deepcopy(model.state_dict())
    prior, _ = adapt(model, support_of(make_cells, ("C", "D"), 10))
    assert torch.equal(prior.effect()[:2], model.prior.effect())
    assert torch.equal(prior.inclusion_probability()[:2], model.prior.inclusion_probability())
    with torch.no_grad():
        prior.effects.table += 1.0
        prior.inclusion_probability().add_(1.0)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_a_table_takes_a_double_as_a_row_of_its_own(
    make_cells: MakeCells, make_model: MakeModel
) -> None:
    model = make_model("ivae", TRAINED)
    cells = support_of(make_cells, ("A+B",), 10, additive=False)
    prior, mean = adapt(model, cells)
    torch.testing.assert_close(prior.effect()[2].detach(), mean.mean(0))


def test_a_standard_normal_prior_only_grows(make_cells: MakeCells, make_model: MakeModel) -> None:
    model = make_model("vae", TRAINED)
    cells = support_of(make_cells, ("C", "D"), 10)
    with torch.no_grad():
        mean = model.encoder(cells.counts)[0]
    prior = adapted_prior(model.prior, mean, cells, 2)
    assert isinstance(prior, StandardNormalPrior)
    assert prior.effect().shape == (4, 3)
    assert not prior.effect().any()
    assert not prior.inclusion_probability().any()


def test_one_cell_and_absent_labels_are_enough(
    make_cells: MakeCells, make_model: MakeModel
) -> None:
    model = make_model("svae_plus", TRAINED)
    cells = support_of(make_cells, ("C", "D"), 10)
    one = cells.take(torch.tensor([0]))
    prior, mean = adapt(model, one)
    torch.testing.assert_close(prior.effect()[2].detach(), mean[0])
    # nothing was seen of D: the smallest effect
    assert not prior.effect()[3].any()


@pytest.mark.parametrize(
    "preset", [name for name, made in PRESETS.items() if made.options.posterior == "cells"]
)
def test_the_same_networks_around_another_prior(preset: str, make_model: MakeModel) -> None:
    model = make_model(preset, TRAINED, n_batches=2, beta=3.0)
    grown = with_new_rows(model, model.prior.extended(torch.zeros(1, 3).double()))
    for part in ("encoder", "decoder", "likelihood"):
        assert getattr(grown, part) is getattr(model, part)
    assert (grown.n_batches, grown.posterior_kind, grown.beta) == (2, "cells", 3.0)
    assert len(grown.prior.effect()) == len(model.prior.effect()) + 1
