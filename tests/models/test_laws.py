"""What holds for every model of the family. A new preset is in it by being a preset."""

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from sparseshift.data.cells import Cells
from sparseshift.data.design import Design
from sparseshift.models.build import build_model
from sparseshift.models.importance_weights import log_weights
from sparseshift.models.masks import FixedMask
from sparseshift.models.options import Options
from sparseshift.models.priors import ShiftNoise, ShiftPrior, StandardNormalPrior
from sparseshift.models.vae import Noise, PerturbationVAE
from sparseshift.presets import PRESETS, build_options, get_preset
from sparseshift.probability import negative_binomial
from sparseshift.probability.bounds import iwelbo
from sparseshift.probability.masked_shift import SubsetMixture, shift_moments

LABELS = ("control", "A", "B", "A+B", "C")
SINGLES = ("control", "A", "B", "C")
MakeCells = Callable[..., Cells]
MakeDesign = Callable[..., Design]
MakeModel = Callable[..., PerturbationVAE]

every_preset = pytest.mark.parametrize("preset", PRESETS)
shifted_presets = pytest.mark.parametrize(
    "preset", [name for name in PRESETS if get_preset(name).options.shift != "none"]
)


@pytest.fixture(name="make")
def make_cells_and_model(
    make_cells: MakeCells, make_design: MakeDesign, make_model: MakeModel
) -> Callable[..., tuple[Cells, PerturbationVAE]]:
    """24 cells of five labels, and a preset's model of them."""

    def make(
        preset: str,
        labels: tuple[str, ...] = LABELS,
        *,
        n_batches: int = 1,
        seed: int = 0,
        **options: object,
    ) -> tuple[Cells, PerturbationVAE]:
        cells = make_cells(make_design(preset, labels, **options), labels, n_batches=n_batches)
        return cells, make_model(preset, labels, n_batches=n_batches, seed=seed, **options)

    return make


Make = Callable[..., tuple[Cells, PerturbationVAE]]


def noise_of(model: PerturbationVAE, cells: Cells, seed: int = 1) -> Noise:
    """All draws that one ELBO needs."""
    return model.draw_noise(cells, torch.Generator().manual_seed(seed))


def shift_of(model: PerturbationVAE, cells: Cells, noise: ShiftNoise) -> Tensor | None:
    """The shift of each cell written out, (cells, latents); None where it is averaged over."""
    prior = model.prior
    if not isinstance(prior, ShiftPrior):
        return torch.zeros(cells.n_cells, model.n_latents, dtype=torch.float64)
    if noise.mask is None or noise.effect is None:
        return None
    q = prior.inclusion_probability()
    table = prior.effects.sample(noise.effect)
    shift = torch.zeros(cells.n_cells, model.n_latents, dtype=torch.float64)
    for n in range(cells.n_cells):
        doses = cells.design[cells.label[n]]
        for place, p in enumerate(doses.argsort(descending=True, stable=True)):
            if doses[p] > 0:
                uniform = noise.mask[n, place] if prior.draw == "per_cell" else noise.mask[p]
                # a logistic draw above -logit: the mask is on where 1 - uniform < q
                shift[n] += doses[p] * (1.0 - uniform < q[p]) * table[p]
    return shift


@every_preset
@pytest.mark.parametrize("normalisation", ["batch", "layer", "none"])
@pytest.mark.parametrize("n_batches", [1, 3])
def test_shapes(
    preset: str, normalisation: str, n_batches: int, make: Make, make_design: MakeDesign
) -> None:
    cells, model = make(preset, n_batches=n_batches, normalisation=normalisation, n_layers=1)
    mean, std = model.posterior(cells)
    assert mean.shape == std.shape == (24, 3)
    assert (std > 0).all()
    terms = model.elbo_terms(cells, noise_of(model, cells))
    assert terms.reconstruction.shape == terms.kl_latent.shape == (24,)
    assert terms.kl_global.shape == ()
    assert log_weights(model, cells, 7).shape == (7, 24)
    assert model.sample(cells).shape == (24, 6)
    table = (len(make_design(preset, LABELS).perturbations), 3)
    assert model.prior.effect().shape == model.prior.inclusion_probability().shape == table
    assert model.prior.expected_shift(cells.design).shape == (5, 3)
    assert (terms.kl_latent > 0).all()


@every_preset
@pytest.mark.parametrize("normalisation", ["batch", "layer", "none"])
def test_every_parameter_gets_a_gradient(preset: str, normalisation: str, make: Make) -> None:
    # in eval mode: in training a bias before batch normalisation has none
    cells, model = make(preset, n_batches=2, normalisation=normalisation, alpha=3.0)
    # several draws: an effect behind a mask that is off has none
    for seed in range(12):
        terms = model.elbo_terms(cells, noise_of(model, cells, seed), 24)
        terms.negative_elbo(24).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name
        if name.startswith("prior."):
            assert (parameter.grad != 0).all(), name


@every_preset
def test_gradient_of_the_prior_is_that_of_finite_differences(preset: str, make: Make) -> None:
    cells, model = make(preset, alpha=3.0)
    noise = noise_of(model, cells)

    def loss() -> Tensor:
        return model.elbo_terms(cells, noise, 24).negative_elbo(24)

    loss().backward()
    step = 1e-6
    named = dict(model.prior.named_parameters())
    if model.embedding is not None:
        named["embedding"] = model.embedding
    if noise.shift.mask is not None:
        named.pop("mask.logit", None)  # a step function of it is not what is differentiated
    for name, parameter in named.items():
        assert parameter.grad is not None
        for i in range(parameter.numel()):
            ends = []
            for sign in (1.0, -1.0):
                with torch.no_grad():
                    parameter.view(-1)[i] += sign * step
                    ends.append(loss().item())
                    parameter.view(-1)[i] -= sign * step
            slope = (ends[0] - ends[1]) / (2.0 * step)
            assert parameter.grad.view(-1)[i].item() == pytest.approx(slope, abs=1e-6), name


@every_preset
@pytest.mark.parametrize("n_batches", [1, 2])
def test_proportions_sum_to_one_over_genes(preset: str, n_batches: int, make: Make) -> None:
    cells, model = make(preset, n_batches=n_batches)
    cells = cells.take(torch.arange(8))
    z = 3.0 * torch.randn(5, 8, 3, generator=torch.Generator().manual_seed(0)).double()
    covariates = model.covariates(cells)
    scores = model.decoder(z, covariates)
    assert scores.shape == (5, 8, 6)
    log_rho = model.likelihood.log_expression(scores)
    torch.testing.assert_close(log_rho.exp().sum(-1), torch.ones(5, 8).double())
    each = torch.stack([model.decoder(particle, covariates) for particle in z])
    torch.testing.assert_close(scores, each)
    one = cells.take(torch.tensor([3]))
    torch.testing.assert_close(model.decoder(z[0, 3:4], model.covariates(one)), scores[0, 3:4])


@every_preset
def test_elbo_terms_are_those_of_torch_distributions(preset: str, make: Make) -> None:
    cells, model = make(preset, n_batches=2)
    noise = noise_of(model, cells)
    terms = model.elbo_terms(cells, noise)
    shift = shift_of(model, cells, noise.shift)
    mean, std = model.posterior(cells, shift)
    scores = model.decoder(mean + noise.latent * std, model.covariates(cells))
    m = (cells.counts.sum(1, keepdim=True) * scores.softmax(-1)).detach().numpy()
    t = model.get_parameter("likelihood.log_inverse_dispersion").exp().detach().numpy()
    log_p = stats.nbinom.logpmf(cells.counts.numpy(), t, t / (t + m)).sum(1)
    constant = negative_binomial.log_factorials(cells.counts)
    torch.testing.assert_close(model.likelihood.constant(cells.counts), -constant)
    np.testing.assert_allclose((terms.reconstruction - constant).detach(), log_p, rtol=1e-9)
    variance = torch.zeros_like(mean)
    if shift is None:
        q, e = model.prior.inclusion_probability(), model.prior.effect()
        moments = shift_moments(cells.design, q, e)
        shift, variance = (moment[cells.label] for moment in moments)
    at_mean = Normal(shift, torch.ones_like(mean))
    expected = kl_divergence(Normal(mean, std), at_mean) + 0.5 * variance
    torch.testing.assert_close(terms.kl_latent, expected.sum(-1))


@every_preset
def test_an_anchored_control_is_unshifted(preset: str, make: Make) -> None:
    cells, model = make(preset, anchor_control=True)
    control = cells.take((cells.label == 0).nonzero().squeeze(1))
    mean, std = model.posterior(control)
    standard = Normal(torch.zeros_like(mean), torch.ones_like(std))
    torch.testing.assert_close(
        model.elbo_terms(control, noise_of(model, control)).kl_latent,
        kl_divergence(Normal(mean, std), standard).sum(-1),
    )
    z = torch.randn(4, control.n_cells, 3, dtype=torch.float64)
    log_p = model.prior.density(cells.design).log_density(z, control.label)
    torch.testing.assert_close(log_p, Normal(0.0, 1.0).log_prob(z).sum(-1))


@every_preset
def test_a_control_that_is_not_anchored_has_its_own_row(
    preset: str, make: Make, make_design: MakeDesign
) -> None:
    free = make_design(preset, LABELS, anchor_control=False)
    anchored = make_design(preset, LABELS, anchor_control=True)
    assert set(free.perturbations) - set(anchored.perturbations) == {"control"}
    cells, model = make(preset, anchor_control=False)
    row = free.perturbations.index("control")
    shift = model.prior.expected_shift(cells.design)[0]
    q, e = model.prior.inclusion_probability(), model.prior.effect()
    torch.testing.assert_close(shift, q[row] * e[row])
    assert (shift.abs() > 1e-3).any() != isinstance(model.prior, StandardNormalPrior)


@every_preset
def test_perturbed_cells_are_shifted_unless_the_model_has_no_shift(
    preset: str, make: Make
) -> None:
    cells, model = make(preset)
    shift = model.prior.expected_shift(cells.design)
    moved = (shift[1:].abs() > 1e-3).all().item()
    assert moved != isinstance(model.prior, StandardNormalPrior)


@every_preset
def test_shift_of_a_combination_is_the_sum_of_its_parts(
    preset: str, make_model: MakeModel, make_design: MakeDesign
) -> None:
    model, design = make_model(preset, LABELS), make_design(preset, LABELS)
    if not design.additive:
        assert "A+B" in design.perturbations
        return
    labels = ["A", "B", "C", "A+B", "B+C", "A+B+C", "A+A"]
    D = torch.from_numpy(design.matrix(labels)).double()
    mixture = model.prior.density(D)
    of_density = (mixture.log_weights.exp() * mixture.means).sum(1)
    for shift in (of_density, model.prior.expected_shift(D)):
        a, b, c, ab, bc, abc, aa = shift.detach()
        torch.testing.assert_close(ab, a + b)
        torch.testing.assert_close(bc, b + c)
        torch.testing.assert_close(abc, a + b + c)
        torch.testing.assert_close(aa, 2.0 * a)
    # and of any one draw of masks and effects
    one_each = Cells(torch.ones(7, 6).double(), torch.arange(7), torch.zeros(7).long(), D)
    if isinstance(model.prior, ShiftPrior) and model.prior.draw == "per_batch":
        drawn = model.prior.shift(one_each, noise_of(model, one_each).shift).mean.detach()
        torch.testing.assert_close(drawn[3:], D[3:, :3] @ drawn[:3])


def permuted(model: PerturbationVAE, order: list[int]) -> PerturbationVAE:
    """The same model whose latent j is latent order[j] of the first."""
    twin = copy.deepcopy(model)
    with torch.no_grad():
        head, n_latents = twin.encoder.head, len(order)
        turned = [*order, *(n_latents + j for j in order)]
        head.weight.copy_(head.weight[:, turned].clone())
        head.bias.copy_(head.bias[turned].clone())
        first, into = twin.decoder.hidden.layers[0], twin.encoder.hidden.layers[0]
        first.weight[:n_latents] = first.weight[order].clone()
        if model.posterior_kind == "basal":  # the shift comes after six genes
            into.weight[6:] = into.weight[[6 + j for j in order]].clone()
        for parameter in twin.prior.parameters():
            parameter.copy_(parameter[:, order].clone())
    return twin


@every_preset
def test_order_of_latents_does_not_matter(
    preset: str, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells, model = make(preset, n_batches=2, alpha=5.0)
    order = [2, 0, 1]
    twin, noise = permuted(model, order), noise_of(model, cells)
    turned = Noise(
        noise.latent[:, order],
        ShiftNoise(*(part if part is None else part[..., order] for part in noise.shift)),
    )
    for a, b in zip(
        model.elbo_terms(cells, noise, 24), twin.elbo_terms(cells, turned, 24), strict=True
    ):
        torch.testing.assert_close(a, b)
    generator = torch.Generator().manual_seed(3)
    drawn = torch.randn(9, 24, 3, generator=generator).double()
    shift = torch.randn(9 * 24, 3, generator=generator).double()
    monkeypatch.setattr(torch, "randn", lambda *_, **__: drawn)
    monkeypatch.setattr(SubsetMixture, "sample_shift", lambda *_: shift)
    log_w = log_weights(model, cells, 9)
    monkeypatch.setattr(torch, "randn", lambda *_, **__: drawn[..., order])
    monkeypatch.setattr(SubsetMixture, "sample_shift", lambda *_: shift[:, order])
    torch.testing.assert_close(log_weights(twin, cells, 9), log_w)


@every_preset
def test_order_of_cells_and_labels_does_not_matter(preset: str, make: Make) -> None:
    cells, model = make(preset)
    noise = noise_of(model, cells)
    terms = model.elbo_terms(cells, noise)
    turned = Cells(
        cells.counts.flip(0), 4 - cells.label.flip(0), cells.batch.flip(0), cells.design.flip(0)
    )
    mask, effect = noise.shift
    if mask is not None and mask.ndim == 3:  # one for each cell
        mask = mask.flip(0)
    again = model.elbo_terms(turned, Noise(noise.latent.flip(0), ShiftNoise(mask, effect)))
    torch.testing.assert_close(again.reconstruction.flip(0), terms.reconstruction)
    torch.testing.assert_close(again.kl_latent.flip(0), terms.kl_latent)
    torch.testing.assert_close(again.kl_global, terms.kl_global)


@every_preset
def test_mean_log_weight_is_at_most_the_log_of_the_mean(preset: str, make: Make) -> None:
    cells, model = make(preset)
    log_w = log_weights(model, cells, 30, torch.Generator().manual_seed(0))
    assert torch.isfinite(log_w).all()
    assert (log_w.mean(0) <= iwelbo(log_w)).all()
    # and more particles are tighter, on average over ways to have fewer of the same
    for k in (2, 5, 15):
        fewer = torch.stack([iwelbo(part) for part in log_w.split(k)])
        assert (fewer.mean(0) <= iwelbo(log_w) + 1e-9).all()


def with_mask(model: PerturbationVAE, value: float | Tensor) -> PerturbationVAE:
    """The model with inclusion probabilities that are given."""
    assert isinstance(model.prior, ShiftPrior)
    table = model.prior.effect().detach()
    model.prior.mask = FixedMask(torch.ones_like(table) * value)
    return model


def assert_same_model(
    a: PerturbationVAE, b: PerturbationVAE, cells: Cells, cells_b: Cells | None = None
) -> None:
    """Fails unless both have the same ELBO terms and the same log weights, bit by bit."""
    noise, others = noise_of(a, cells), cells if cells_b is None else cells_b
    terms = a.elbo_terms(cells, noise, 24), b.elbo_terms(others, noise, 24)
    for x, y in zip(*terms, strict=True):
        assert torch.equal(x, y)
    weights = [
        log_weights(model, part, 5, torch.Generator().manual_seed(0))
        for model, part in ((a, cells), (b, others))
    ]
    assert torch.equal(*weights)


@pytest.mark.parametrize(
    ("preset", "dense_preset"),
    [("svae_plus", "ivae"), ("svae", "ivae"), ("sams_vae", "cpa_vae"), ("paper.svae", "ivae")],
)
def test_all_ones_mask_is_the_dense_model(preset: str, dense_preset: str, make: Make) -> None:
    cells, sparse = make(preset, SINGLES, anchor_control=True, dropout=0.0)
    table, dense = make(dense_preset, SINGLES)
    assert torch.equal(cells.design, table.design)
    dense.load_state_dict(with_mask(sparse, 1.0).state_dict())
    assert (dense.prior.inclusion_probability() == 1.0).all()
    if preset == "sams_vae":
        # the cost of the effects is left
        assert sparse.prior.cost(24).item() > 0
    assert isinstance(dense.prior, ShiftPrior)
    assert isinstance(sparse.prior, ShiftPrior)
    dense.prior.draw = sparse.prior.draw
    assert_same_model(sparse, dense, cells)


@shifted_presets
def test_on_single_labels_additive_shifts_are_a_table(preset: str, make: Make) -> None:
    # the three letters of SINGLES, and a control that stays one label
    pairs = [make(preset, SINGLES, shift=shift) for shift in ("additive", "table")]
    (cells, additive), (same_cells, table) = pairs
    assert torch.equal(cells.design, same_cells.design)
    table.load_state_dict(additive.state_dict())
    assert_same_model(additive, table, cells, same_cells)


def test_no_shift_is_a_mask_of_zeros(make: Make) -> None:
    (cells, plain), (_, shifted) = make("vae"), make("svae_plus")
    plain.load_state_dict(
        {k: v for k, v in shifted.state_dict().items() if not k.startswith("prior.")}
    )
    with_mask(shifted, 0.0)
    noise = noise_of(plain, cells)
    for a, b in zip(plain.elbo_terms(cells, noise), shifted.elbo_terms(cells, noise), strict=True):
        torch.testing.assert_close(a, b, check_dtype=False)


@shifted_presets
def test_the_map_graph_is_the_model_with_thresholded_masks(preset: str, make: Make) -> None:
    cells, model = make(preset)
    generators = [torch.Generator().manual_seed(5) for _ in range(3)]
    soft = log_weights(model, cells, 6, generators[0])
    hard = log_weights(model, cells, 6, generators[1], graph="map")
    q = model.prior.inclusion_probability().detach()
    with_mask(model, (q > 0.5).double())
    torch.testing.assert_close(log_weights(model, cells, 6, generators[2]), hard)
    assert torch.equal(soft, hard) == bool(((q == 0) | (q == 1)).all())


@every_preset
def test_samples_have_the_totals_of_the_cells(preset: str, make: Make) -> None:
    cells, model = make(preset)
    many = cells.take(torch.arange(24).repeat(500))
    with torch.no_grad():
        model.get_parameter("likelihood.log_inverse_dispersion").fill_(3.0)
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
    preset: str, make: Make
) -> None:
    cells, model = make(preset)
    shuffled = cells._replace(counts=cells.counts.flip(1))
    a, b = (model.sample(c, torch.Generator().manual_seed(0)) for c in (cells, shuffled))
    assert torch.equal(a, b)


@every_preset
def test_build_is_its_seed_and_leaves_torch_alone(preset: str, make_design: MakeDesign) -> None:
    torch.manual_seed(11)
    before = torch.random.get_rng_state()
    sizes = {"n_genes": 5, "n_batches": 2, "n_latents": 3}
    options, design = build_options(preset, {"n_hidden": 4}), make_design(preset, LABELS)
    a, b, c = (build_model(options, design, seed=seed, **sizes) for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    same = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    assert all(torch.equal(x, y) for x, y in same)
    assert not torch.equal(a.encoder.head.weight, c.encoder.head.weight)


def test_build_gives_the_starting_values_that_the_options_name(make_design: MakeDesign) -> None:
    labels = [f"p{i}" for i in range(400)]
    options = Options(
        shift="table",
        mask="bernoulli",
        initial_logit=-1.5,
        effect="normal",
        effect_start=3.0,
        effect_scale=0.7,
    )
    design = make_design("svae", labels)
    model = build_model(options, design, n_genes=4, n_batches=1, n_latents=5, seed=0)
    assert (model.get_parameter("prior.mask.logit") == -1.5).all()
    assert model.prior.effect().std().item() == pytest.approx(3.0, rel=0.1)
    assert isinstance(model.prior, ShiftPrior)
    std = model.get_parameter("prior.effects.log_std").exp()
    expected = kl_divergence(Normal(model.prior.effect(), std), Normal(0.0, 0.7)).sum()
    torch.testing.assert_close(model.prior.effects.cost(), expected)


@every_preset
def test_weights_can_be_saved_and_loaded(preset: str, make: Make) -> None:
    cells, model = make(preset, n_batches=2)
    _, other = make(preset, n_batches=2, seed=1)
    other.load_state_dict(model.state_dict())
    assert_same_model(model, other, cells)
    drawn = [m.sample(cells, torch.Generator().manual_seed(0)) for m in (model, other)]
    assert torch.equal(*drawn)
