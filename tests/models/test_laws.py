"""What holds for every model of the family. A new preset is in it by being a preset."""

import copy
import math
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from sparseshift.data.cells import Cells
from sparseshift.data.design import Design
from sparseshift.models.masks import FixedMask
from sparseshift.models.presets import PRESETS, Options, build_model, get_preset
from sparseshift.models.priors import ShiftPrior, StandardNormalPrior
from sparseshift.models.vae import PerturbationVAE
from sparseshift.probability import negative_binomial
from sparseshift.probability.bounds import iwelbo
from sparseshift.probability.masked_shift import shift_moments

LABELS = ("control", "A", "B", "A+B", "C")
SINGLES = ("control", "A", "B", "C")
MakeCells = Callable[..., Cells]
MakeModel = Callable[..., PerturbationVAE]

every_preset = pytest.mark.parametrize("preset", PRESETS)


def design_of(preset: str, labels: tuple[str, ...] = LABELS) -> Design:
    """The design that a preset makes of labels."""
    return Design.of_labels(labels, "control", additive=get_preset(preset).additive)


def noise_of(cells: Cells, n_latents: int = 3, seed: int = 1) -> Tensor:
    """Standard normal, (cells, latents), float64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(cells.n_cells, n_latents, generator=generator, dtype=torch.float64)


@every_preset
@pytest.mark.parametrize("normalisation", ["batch", "layer", "none"])
@pytest.mark.parametrize("n_batches", [1, 3])
def test_shapes(
    preset: str, normalisation: str, n_batches: int, make_cells: MakeCells, make_model: MakeModel
) -> None:
    design = design_of(preset)
    cells = make_cells(design, LABELS, n_batches=n_batches)
    model = make_model(
        preset, LABELS, n_batches=n_batches, normalisation=normalisation, n_layers=1
    )
    mean, std = model.encoder(cells.counts)
    assert mean.shape == std.shape == (24, 3)
    assert (std > 0).all()
    terms = model.elbo_terms(cells, noise_of(cells))
    assert terms.reconstruction.shape == terms.kl_latent.shape == (24,)
    assert terms.kl_global.shape == ()
    assert model.log_weights(cells, 7).shape == (7, 24)
    assert model.sample(cells).shape == (24, 6)
    table = (len(design.perturbations), 3)
    assert model.prior.effect().shape == model.prior.inclusion_probability().shape == table
    assert (terms.kl_latent > 0).all()


@every_preset
@pytest.mark.parametrize("normalisation", ["batch", "layer", "none"])
def test_every_parameter_gets_a_gradient(
    preset: str, normalisation: str, make_cells: MakeCells, make_model: MakeModel
) -> None:
    cells = make_cells(design_of(preset), LABELS, n_batches=2)
    # in eval mode: in training a bias before batch normalisation has none
    model = make_model(preset, LABELS, n_batches=2, normalisation=normalisation, alpha=3.0)
    model.elbo_terms(cells, noise_of(cells)).negative_elbo(24).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


@every_preset
def test_gradient_of_the_prior_is_that_of_finite_differences(
    preset: str, make_cells: MakeCells, make_model: MakeModel
) -> None:
    cells = make_cells(design_of(preset), LABELS)
    model = make_model(preset, LABELS, alpha=3.0)
    noise = noise_of(cells)

    def loss() -> Tensor:
        return model.elbo_terms(cells, noise).negative_elbo(24)

    loss().backward()
    step = 1e-6
    for _, parameter in model.prior.named_parameters():
        assert parameter.grad is not None
        for i in range(parameter.numel()):
            ends = []
            for sign in (1.0, -1.0):
                with torch.no_grad():
                    parameter.view(-1)[i] += sign * step
                    ends.append(loss().item())
                    parameter.view(-1)[i] -= sign * step
            slope = (ends[0] - ends[1]) / (2.0 * step)
            assert parameter.grad.view(-1)[i].item() == pytest.approx(slope, abs=1e-6)


@every_preset
@pytest.mark.parametrize("n_batches", [1, 2])
def test_proportions_sum_to_one_over_genes(
    preset: str, n_batches: int, make_model: MakeModel
) -> None:
    model = make_model(preset, LABELS, n_batches=n_batches)
    z = 3.0 * torch.randn(5, 8, 3, generator=torch.Generator().manual_seed(0)).double()
    batch = torch.arange(8) % n_batches
    log_rho = model.decoder(z, batch)
    assert log_rho.shape == (5, 8, 6)
    torch.testing.assert_close(log_rho.exp().sum(-1), torch.ones(5, 8).double())
    each = torch.stack([model.decoder(particle, batch) for particle in z])
    torch.testing.assert_close(log_rho, each)
    one = model.decoder(z[0, 3:4], batch[3:4])
    torch.testing.assert_close(one, log_rho[0, 3:4])


@every_preset
def test_elbo_terms_are_those_of_torch_distributions(
    preset: str, make_cells: MakeCells, make_model: MakeModel
) -> None:
    cells = make_cells(design_of(preset), LABELS, n_batches=2)
    model = make_model(preset, LABELS, n_batches=2)
    noise = noise_of(cells)
    terms = model.elbo_terms(cells, noise)
    mean, std = model.encoder(cells.counts)
    rho = model.decoder(mean + noise * std, cells.batch).exp()
    m = (cells.counts.sum(1, keepdim=True) * rho).detach().numpy()
    t = model.log_inverse_dispersion.exp().detach().numpy()
    log_p = stats.nbinom.logpmf(cells.counts.numpy(), t, t / (t + m)).sum(1)
    constant = negative_binomial.log_factorials(cells.counts)
    np.testing.assert_allclose((terms.reconstruction - constant).detach(), log_p, rtol=1e-9)
    shift, variance = shift_moments(
        cells.design, model.prior.inclusion_probability(), model.prior.effect()
    )
    at_mean = Normal(shift[cells.label], torch.ones_like(mean))
    expected = kl_divergence(Normal(mean, std), at_mean) + 0.5 * variance[cells.label]
    torch.testing.assert_close(terms.kl_latent, expected.sum(-1))


@every_preset
def test_control_is_unshifted(preset: str, make_cells: MakeCells, make_model: MakeModel) -> None:
    cells = make_cells(design_of(preset), LABELS)
    model = make_model(preset, LABELS)
    control = cells.take((cells.label == 0).nonzero().squeeze(1))
    mean, std = model.encoder(control.counts)
    standard = Normal(torch.zeros_like(mean), torch.ones_like(std))
    torch.testing.assert_close(
        model.elbo_terms(control, noise_of(control)).kl_latent,
        kl_divergence(Normal(mean, std), standard).sum(-1),
    )
    z = torch.randn(4, control.n_cells, 3, dtype=torch.float64)
    log_p = model.prior.density(cells.design).log_density(z, control.label)
    torch.testing.assert_close(log_p, Normal(0.0, 1.0).log_prob(z).sum(-1))


@every_preset
def test_perturbed_cells_are_shifted_unless_the_model_has_no_shift(
    preset: str, make_model: MakeModel
) -> None:
    model, design = make_model(preset, LABELS), design_of(preset)
    D = torch.from_numpy(design.matrix(LABELS)).double()
    shift, _ = shift_moments(D, model.prior.inclusion_probability(), model.prior.effect())
    moved = (shift[1:].abs() > 1e-3).all().item()
    assert moved != isinstance(model.prior, StandardNormalPrior)


@every_preset
def test_expected_shift_of_a_combination_is_the_sum_of_its_parts(
    preset: str, make_model: MakeModel
) -> None:
    model, design = make_model(preset, LABELS), design_of(preset)
    if not design.additive:
        assert "A+B" in design.perturbations
        return
    labels = ["A", "B", "C", "A+B", "B+C", "A+B+C"]
    mixture = model.prior.density(torch.from_numpy(design.matrix(labels)).double())
    a, b, c, ab, bc, abc = (mixture.log_weights.exp() * mixture.means).sum(1)
    torch.testing.assert_close(ab, a + b)
    torch.testing.assert_close(bc, b + c)
    torch.testing.assert_close(abc, a + b + c)


def permuted(model: PerturbationVAE, order: list[int]) -> PerturbationVAE:
    """The same model whose latent j is latent order[j] of the first."""
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for head in (twin.encoder.mean, twin.encoder.log_variance):
            head.weight.copy_(head.weight[order].clone())
            head.bias.copy_(head.bias[order].clone())
        first = twin.decoder.hidden.layers[0]
        assert isinstance(first, torch.nn.Linear)
        first.weight[:, : len(order)] = first.weight[:, order].clone()
        for parameter in twin.prior.parameters():
            parameter.copy_(parameter[:, order].clone())
    return twin


@every_preset
def test_order_of_latents_does_not_matter(
    preset: str, make_cells: MakeCells, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = make_cells(design_of(preset), LABELS, n_batches=2)
    model = make_model(preset, LABELS, n_batches=2, alpha=5.0)
    order = [2, 0, 1]
    twin, noise = permuted(model, order), noise_of(cells)
    for a, b in zip(
        model.elbo_terms(cells, noise), twin.elbo_terms(cells, noise[:, order]), strict=True
    ):
        torch.testing.assert_close(a, b)
    drawn = torch.randn(9, 24, 3, generator=torch.Generator().manual_seed(3)).double()
    monkeypatch.setattr(torch, "randn", lambda *_, **__: drawn)
    log_w = model.log_weights(cells, 9)
    monkeypatch.setattr(torch, "randn", lambda *_, **__: drawn[..., order])
    torch.testing.assert_close(twin.log_weights(cells, 9), log_w)


@every_preset
def test_order_of_cells_and_labels_does_not_matter(
    preset: str, make_cells: MakeCells, make_model: MakeModel
) -> None:
    cells, model = make_cells(design_of(preset), LABELS), make_model(preset, LABELS)
    noise = noise_of(cells)
    terms = model.elbo_terms(cells, noise)
    turned = Cells(
        cells.counts.flip(0), 4 - cells.label.flip(0), cells.batch.flip(0), cells.design.flip(0)
    )
    again = model.elbo_terms(turned, noise.flip(0))
    torch.testing.assert_close(again.reconstruction.flip(0), terms.reconstruction)
    torch.testing.assert_close(again.kl_latent.flip(0), terms.kl_latent)


@every_preset
def test_mean_log_weight_is_at_most_the_log_of_the_mean(
    preset: str, make_cells: MakeCells, make_model: MakeModel
) -> None:
    cells, model = make_cells(design_of(preset), LABELS), make_model(preset, LABELS)
    log_w = model.log_weights(cells, 30, torch.Generator().manual_seed(0))
    assert (log_w.mean(0) <= iwelbo(log_w)).all()


def test_all_ones_mask_is_the_dense_table(make_cells: MakeCells, make_model: MakeModel) -> None:
    sparse, dense = make_model("svae_plus", SINGLES), make_model("ivae", SINGLES)
    dense.load_state_dict(
        {k: v for k, v in sparse.state_dict().items() if not k.endswith("logit")}, strict=False
    )
    assert isinstance(sparse.prior, ShiftPrior)
    sparse.prior.mask = FixedMask(torch.ones(3, 3).double())
    cells = make_cells(design_of("svae_plus", SINGLES), SINGLES)
    table = make_cells(design_of("ivae", SINGLES), SINGLES)
    assert torch.equal(cells.design, table.design)
    noise = noise_of(cells)
    for a, b in zip(sparse.elbo_terms(cells, noise), dense.elbo_terms(table, noise), strict=True):
        assert a.item() == b.item() if a.ndim == 0 else torch.equal(a, b)
    weights = [
        model.log_weights(cells, 5, torch.Generator().manual_seed(0)) for model in (sparse, dense)
    ]
    assert torch.equal(*weights)


def test_no_shift_is_a_mask_of_zeros(make_cells: MakeCells, make_model: MakeModel) -> None:
    plain, shifted = make_model("vae", LABELS), make_model("svae_plus", LABELS)
    plain.load_state_dict(
        {k: v for k, v in shifted.state_dict().items() if not k.startswith("prior.")}
    )
    assert isinstance(shifted.prior, ShiftPrior)
    shifted.prior.mask = FixedMask(torch.zeros(3, 3).double())
    cells = make_cells(design_of("vae"), LABELS)
    for a, b in zip(
        plain.elbo_terms(cells, noise_of(cells)),
        shifted.elbo_terms(cells, noise_of(cells)),
        strict=True,
    ):
        torch.testing.assert_close(a, b, check_dtype=False)


def log_likelihood_by_quadrature(model: PerturbationVAE, cells: Cells) -> np.ndarray:
    """Log p(x | a, l) of each cell by the trapezoidal rule over z and a sum over all masks."""
    q, e = model.prior.inclusion_probability(), model.prior.effect()
    n_latents = q.shape[1]
    axis = torch.linspace(-9.0, 9.0, 1801 if n_latents == 1 else 121, dtype=torch.float64)
    grid = torch.cartesian_prod(*[axis] * n_latents).reshape(-1, n_latents)
    volume = (axis[1] - axis[0]).item() ** n_latents
    result = []
    for n in range(cells.n_cells):
        prior = torch.zeros(len(grid), dtype=torch.float64)
        for bits in product((0.0, 1.0), repeat=q.numel()):
            mask = torch.tensor(bits, dtype=torch.float64).reshape(q.shape)
            shift = cells.design[cells.label[n]] @ (mask * e)
            probability = torch.where(mask > 0, q, 1.0 - q).prod()
            if probability > 0:
                prior += probability * Normal(shift, 1.0).log_prob(grid).sum(-1).exp()
        rho = model.decoder(grid, cells.batch[n : n + 1].expand(len(grid))).exp()
        counts = cells.counts[n].numpy()
        m, t = counts.sum() * rho.numpy(), model.log_inverse_dispersion.exp().numpy()
        log_x = stats.nbinom.logpmf(counts, t, t / (t + m)).sum(-1)
        peak = log_x.max()
        result.append(math.log((prior.numpy() * np.exp(log_x - peak)).sum() * volume) + peak)
    return np.array(result)


@every_preset
@pytest.mark.parametrize("n_latents", [1, 2])
@torch.no_grad()
def test_iwelbo_approaches_the_log_likelihood(
    preset: str, n_latents: int, make_cells: MakeCells, make_model: MakeModel
) -> None:
    labels = ("control", "A", "B", "A+B")
    sizes = {"n_genes": 3, "n_batches": 2}
    cells = make_cells(design_of(preset, labels), labels, n_cells=4, **sizes)
    model = make_model(preset, labels, n_latents=n_latents, normalisation="none", **sizes)
    model.decoder.log_scale.weight *= 3.0  # so that z matters
    for name, parameter in model.prior.named_parameters():
        if not name.endswith("logit"):
            parameter.mul_(0.6)  # so that q is not far from the posterior
    expected = log_likelihood_by_quadrature(model, cells)
    log_w = model.log_weights(cells, 40_000, torch.Generator().manual_seed(0))
    weight = (log_w - log_w.max(0).values).exp()
    error = (weight.std(0) / weight.mean(0)).numpy() / math.sqrt(len(log_w))
    assert error.max() < 0.1
    np.testing.assert_array_less(np.abs(iwelbo(log_w).numpy() - expected), 5.0 * error)
    single = log_w.mean(0).numpy()
    assert (single < expected).all()


@every_preset
def test_samples_have_the_totals_of_the_cells(
    preset: str, make_cells: MakeCells, make_model: MakeModel
) -> None:
    cells, model = make_cells(design_of(preset), LABELS), make_model(preset, LABELS)
    many = cells.take(torch.arange(24).repeat(500))
    with torch.no_grad():
        model.log_inverse_dispersion.fill_(3.0)
        drawn, again, other = (
            model.sample(many, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
        )
    assert torch.equal(drawn, again)
    assert not torch.equal(drawn, other)
    assert (drawn == drawn.round()).all()
    total = drawn.sum(-1).reshape(500, 24)
    error = total.std(0) / 500**0.5
    assert ((total.mean(0) - cells.counts.sum(1)).abs() < 5.0 * error).all()


@every_preset
def test_samples_depend_on_the_cells_only_through_label_batch_and_total(
    preset: str, make_cells: MakeCells, make_model: MakeModel
) -> None:
    cells, model = make_cells(design_of(preset), LABELS), make_model(preset, LABELS)
    shuffled = cells._replace(counts=cells.counts.flip(1))
    a, b = (model.sample(c, torch.Generator().manual_seed(0)) for c in (cells, shuffled))
    assert torch.equal(a, b)


@every_preset
def test_build_is_its_seed_and_leaves_torch_alone(preset: str) -> None:
    torch.manual_seed(11)
    before = torch.random.get_rng_state()
    sizes = {"n_genes": 5, "n_batches": 2, "n_latents": 3}
    a, b, c = (
        build_model(preset, Options(n_hidden=4), design_of(preset), seed=seed, **sizes)
        for seed in (0, 0, 1)
    )
    assert torch.equal(torch.random.get_rng_state(), before)
    same = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    assert all(torch.equal(x, y) for x, y in same)
    assert not torch.equal(a.encoder.mean.weight, c.encoder.mean.weight)


@every_preset
def test_weights_can_be_saved_and_loaded(
    preset: str, make_cells: MakeCells, make_model: MakeModel
) -> None:
    cells = make_cells(design_of(preset), LABELS)
    model, other = make_model(preset, LABELS, seed=0), make_model(preset, LABELS, seed=1)
    other.load_state_dict(model.state_dict())
    noise = noise_of(cells)
    for a, b in zip(model.elbo_terms(cells, noise), other.elbo_terms(cells, noise), strict=True):
        assert torch.equal(a, b)
