"""Placing new perturbations by gradient, against the closed form where there is one."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sparseshift.data.cells import Cells
from sparseshift.data.design import Design
from sparseshift.models.adaptation import adapted_prior, with_new_rows
from sparseshift.models.effects import NormalEffect
from sparseshift.models.priors import ShiftPrior
from sparseshift.models.vae import PerturbationVAE
from sparseshift.presets import PRESETS
from sparseshift.training.gradient_adaptation import adapted_by_gradient

TRAINED = ("control", "A", "B")
MakeCells = Callable[..., Cells]
MakeDesign = Callable[..., Design]
MakeModel = Callable[..., PerturbationVAE]
every_preset = pytest.mark.parametrize("preset", PRESETS)


@pytest.fixture(name="make")
def make_support_and_model(
    make_cells: MakeCells, make_design: MakeDesign, make_model: MakeModel
) -> Callable[..., tuple[Cells, PerturbationVAE, int]]:
    """Support cells of new perturbations, a model that has A and B, and its number of rows."""

    def make(
        preset: str, labels: tuple[str, ...] = ("C", "D"), n_cells: int = 30, **options: object
    ) -> tuple[Cells, PerturbationVAE, int]:
        trained = make_design(preset, TRAINED, **options)
        longer = trained.extend(trained.unknown(labels))
        cells = make_cells(longer, labels, n_cells=n_cells)
        cells = Cells(cells.counts.float(), cells.label, cells.batch, cells.design.float())
        model = make_model(preset, TRAINED, **options).float().eval()
        return cells, model, len(trained.perturbations)

    return make


Make = Callable[..., tuple[Cells, PerturbationVAE, int]]


def rows_of(model: PerturbationVAE) -> list[Tensor]:
    """Everything that has a row a perturbation."""
    if model.embedding is not None:
        return [model.embedding]
    if not isinstance(model.prior, ShiftPrior):
        return []
    effects = model.prior.effects
    return [effects.table, *([effects.log_std] if isinstance(effects, NormalEffect) else [])]


@pytest.mark.parametrize(
    ("preset", "labels"),
    [
        ("ivae", ("C", "D")),
        ("svae", ("C", "D")),
        ("svae_plus", ("C", "D")),
        ("svae_plus", ("C", "A+C", "A")),
        ("svae_plus", ("A+C", "B+D", "control")),
    ],
)
def test_the_optimum_is_the_closed_form_where_the_encoder_sees_cells_alone(
    preset: str, labels: tuple[str, ...], make: Make
) -> None:
    cells, model, n_known = make(preset, labels)
    found = adapted_by_gradient(model, cells, n_known, seed=0, steps=300)
    with torch.no_grad():
        mean = model.posterior(cells)[0]
    expected = adapted_prior(model.prior, mean, cells, n_known).effect()
    torch.testing.assert_close(found.prior.effect(), expected, atol=2e-3, rtol=2e-3)


@every_preset
@pytest.mark.parametrize("training_mode", [False, True])
def test_only_new_rows_move(preset: str, training_mode: bool, make: Make) -> None:
    cells, model, n_known = make(preset, dropout=0.1)
    before = copy.deepcopy(model.state_dict())
    flags = [p.requires_grad for p in model.parameters()]
    rng = torch.random.get_rng_state()
    adapted = adapted_by_gradient(
        model, cells, n_known, seed=0, steps=15, training_mode=training_mode
    )
    assert torch.equal(torch.random.get_rng_state(), rng)
    # the trained model is left alone, running statistics too
    assert not model.training
    assert [p.requires_grad for p in model.parameters()] == flags
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    # and the adapted one differs in its new rows alone
    assert not adapted.training
    after = adapted.state_dict()
    for name, value in before.items():
        if not name.startswith("prior.") and name != "embedding":
            assert torch.equal(after[name], value), name
    for old, new in zip(rows_of(model), rows_of(adapted), strict=True):
        assert torch.equal(new[:n_known], old)
        assert len(new) == len(cells.design[0])
    if isinstance(model.prior, ShiftPrior):
        q, known = adapted.prior.inclusion_probability(), model.prior.inclusion_probability()
        torch.testing.assert_close(q[:n_known], known)
        assert (q[n_known:] == 1.0).all()


@torch.no_grad()
def mean_negative_elbo(model: PerturbationVAE, cells: Cells) -> float:
    """With KL weight 1, over 50 draws, nats a cell."""
    values = []
    for seed in range(50):
        torch.manual_seed(seed)  # dropout draws from torch's own generator
        noise = model.draw_noise(cells, torch.Generator().manual_seed(seed))
        terms = model.elbo_terms(cells, noise, cells.n_cells)
        values.append(terms.negative_elbo(cells.n_cells).item())
    return sum(values) / len(values)


@pytest.mark.parametrize(
    "preset", [name for name, p in PRESETS.items() if p.adaptation in ("gradient", "paper")]
)
@pytest.mark.parametrize("training_mode", [False, True])
def test_support_cells_fit_better_with_new_rows(
    preset: str, training_mode: bool, make: Make
) -> None:
    cells, model, n_known = make(preset, n_cells=40)
    # genes 1 and 2 tell the new perturbations apart
    counts = cells.counts.clone()
    counts[:, 1] += 40.0 * cells.label
    counts[:, 2] += 40.0 * (1 - cells.label)
    cells = cells._replace(counts=counts)
    untouched = adapted_by_gradient(model, cells, n_known, seed=0, steps=1, learning_rate=1e-9)
    adapted = adapted_by_gradient(
        model, cells, n_known, seed=0, steps=200, training_mode=training_mode
    )
    for model in (untouched, adapted):
        model.train(training_mode)  # what an untrained model knows of the cells' mean is wrong
    gain = mean_negative_elbo(untouched, cells) - mean_negative_elbo(adapted, cells)
    assert gain > 0.01
    new = [rows[n_known:] for rows in rows_of(adapted)]
    assert all((rows != 0).all() for rows in new)


@pytest.mark.parametrize("preset", ["sams_vae", "cpa_vae"])
def test_mean_and_spread_of_new_rows_are_a_posterior(preset: str, make: Make) -> None:
    # where encoder and decoder do not look at the shift, the posterior of a new effect is known:
    # the KL is 1/2 sum_n |mu_n - e|^2 with mu_n = basal + e, so that nothing but the prior acts
    cells, model, n_known = make(preset, n_cells=30, n_layers=1)
    with torch.no_grad():
        model.decoder.scores.weight.zero_()
        model.encoder.hidden.layers[0].weight[6:] = 0.0
    adapted = adapted_by_gradient(model, cells, n_known, seed=0, steps=600)
    assert isinstance(adapted.prior, ShiftPrior)
    assert isinstance(adapted.prior.effects, NormalEffect)
    scale = adapted.prior.effects.scale
    mean = adapted.prior.effects.mean()[n_known:]
    std = adapted.prior.effects.variance()[n_known:].sqrt()
    torch.testing.assert_close(mean, torch.zeros_like(mean), atol=1e-2, rtol=0)
    torch.testing.assert_close(std, torch.full_like(std, scale), atol=1e-2, rtol=0)


def test_normal_effects_of_an_encoder_that_sees_cells_alone_are_conjugate(make: Make) -> None:
    cells, model, n_known = make("svae_plus", effect="normal", effect_scale=0.5)
    adapted = adapted_by_gradient(model, cells, n_known, seed=0, steps=400)
    assert isinstance(adapted.prior, ShiftPrior)
    assert isinstance(adapted.prior.effects, NormalEffect)
    with torch.no_grad():
        mean = model.posterior(cells)[0]
    for row in (0, 1):
        own = mean[cells.label == row]
        precision = len(own) + 1.0 / 0.5**2
        expected = own.sum(0) / precision
        torch.testing.assert_close(
            adapted.prior.effects.mean()[n_known + row], expected, atol=2e-3, rtol=2e-3
        )
        variance = adapted.prior.effects.variance()[n_known + row]
        torch.testing.assert_close(variance, torch.full((3,), 1.0 / precision), rtol=0.02, atol=0)


@every_preset
def test_nothing_new_gives_the_same_model(preset: str, make: Make) -> None:
    cells, model, n_known = make(preset, ("A", "B"))
    adapted = adapted_by_gradient(model, cells, n_known, seed=0)
    same = with_new_rows(model, model.prior.extended(torch.zeros(0, 3)), model.embedding)
    for name, value in same.state_dict().items():
        assert torch.equal(adapted.state_dict()[name], value), name


@pytest.mark.parametrize("preset", ["sams_vae", "conditional_vae", "paper.svae_plus"])
def test_same_seed_same_rows(preset: str, make: Make) -> None:
    cells, model, n_known = make(preset)
    rows: list[Tensor] = []
    for seed in (3, 3, 4):
        torch.manual_seed(len(rows))  # what torch's own generator holds must not matter
        adapted = adapted_by_gradient(
            model, cells, n_known, seed=seed, steps=5, training_mode=preset.startswith("paper")
        )
        rows.append(rows_of(adapted)[0])
    assert torch.equal(rows[0], rows[1])
    assert not torch.equal(rows[0], rows[2])


def test_one_support_cell_is_enough(make: Make) -> None:
    for training_mode in (False, True):
        cells, model, n_known = make("paper.svae_plus", ("C",), n_cells=1)
        adapted = adapted_by_gradient(
            model, cells, n_known, seed=0, steps=300, training_mode=training_mode
        )
        with torch.no_grad():
            expected = model.posterior(cells)[0]
        new = adapted.prior.effect()[n_known:]
        torch.testing.assert_close(new, expected, atol=2e-3, rtol=2e-3)
