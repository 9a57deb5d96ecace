import math
from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from sparseshift import compiled
from sparseshift.errors import OptionError
from sparseshift.models.priors import Shift
from sparseshift.probability.masked_shift import (
    SubsetMixture,
    members,
    shift_moments,
    subset_mixture,
)

# the control, singles, doubles, a triple, and one perturbation twice
DESIGN = torch.tensor(
    [[0, 0, 0], [1, 0, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1], [1, 1, 1], [0, 2, 0], [2, 0, 1]],
    dtype=torch.float64,
)
EFFECT = torch.tensor([[2.0, -0.5], [0.0, 3.0], [-1.2, 0.7]], dtype=torch.float64)
VARIANCE = torch.tensor([[0.3, 1.5], [0.0, 0.2], [2.0, 0.04]], dtype=torch.float64)
INCLUSIONS = {
    "between": torch.tensor([[0.3, 0.9], [0.5, 0.01], [0.7, 0.2]], dtype=torch.float64),
    "with 0 and 1": torch.tensor([[0.0, 1.0], [0.5, 1.0], [1.0, 0.0]], dtype=torch.float64),
    "ones": torch.ones(3, 2, dtype=torch.float64),
    "zeros": torch.zeros(3, 2, dtype=torch.float64),
}
each_inclusion = pytest.mark.parametrize("inclusion", INCLUSIONS.values(), ids=INCLUSIONS)


def every_mask(inclusion: Tensor) -> Iterator[tuple[float, Tensor]]:
    """Probability and value of each of the 2^6 masks over (perturbations, latents)."""
    for bits in product((0.0, 1.0), repeat=inclusion.numel()):
        mask = torch.tensor(bits, dtype=torch.float64).reshape(inclusion.shape)
        yield torch.where(mask > 0, inclusion, 1.0 - inclusion).prod().item(), mask


@each_inclusion
def test_moments_are_those_over_all_masks(inclusion: Tensor) -> None:
    pairs = list(every_mask(inclusion))
    assert math.fsum(p for p, _ in pairs) == pytest.approx(1.0)
    shifts = torch.stack([DESIGN @ (m * EFFECT) for _, m in pairs])
    weights = torch.tensor([p for p, _ in pairs], dtype=torch.float64)
    expected = torch.einsum("m,mal->al", weights, shifts)
    spread = torch.einsum("m,mal->al", weights, (shifts - expected).square())
    mean, variance = shift_moments(DESIGN, inclusion, EFFECT)
    torch.testing.assert_close(mean, expected)
    torch.testing.assert_close(variance, spread, atol=1e-12, rtol=1e-10)


@each_inclusion
def test_kl_is_the_mean_of_kls_over_all_masks(inclusion: Tensor) -> None:
    rng = np.random.default_rng(1)
    mean = torch.from_numpy(rng.normal(size=(16, 2)))
    std = torch.from_numpy(rng.uniform(0.2, 2.0, size=(16, 2)))
    label = torch.arange(16) % len(DESIGN)
    expected = torch.zeros(16, dtype=torch.float64)
    for probability, mask in every_mask(inclusion):
        shift = (DESIGN @ (mask * EFFECT))[label]
        prior = Normal(shift, torch.ones_like(shift))
        expected += probability * kl_divergence(Normal(mean, std), prior).sum(-1)
    first, second = (moment[label] for moment in shift_moments(DESIGN, inclusion, EFFECT))
    torch.testing.assert_close(Shift(first, second).kl_divergence(mean, std), expected)


@each_inclusion
def test_density_is_the_mean_of_densities_over_all_masks(inclusion: Tensor) -> None:
    rng = np.random.default_rng(2)
    z = torch.from_numpy(rng.normal(0.0, 2.0, size=(3, 16, 2)))
    label = torch.arange(16) % len(DESIGN)
    density = torch.zeros(3, 16, dtype=torch.float64)
    for probability, mask in every_mask(inclusion):
        shift = (DESIGN @ (mask * EFFECT))[label]
        density += probability * Normal(shift, torch.ones_like(shift)).log_prob(z).sum(-1).exp()
    mixture = subset_mixture(DESIGN, inclusion, EFFECT)
    torch.testing.assert_close(mixture.log_density(z, label), density.log())


@each_inclusion
@pytest.mark.parametrize("rows", [[0], [1, 2], [0, 3], list(range(8))])
def test_component_weights_sum_to_one(inclusion: Tensor, rows: list[int]) -> None:
    mixture = subset_mixture(DESIGN[rows], inclusion, EFFECT)
    total = mixture.log_weights.exp().sum(1)
    torch.testing.assert_close(total, torch.ones_like(total))


def test_density_does_not_depend_on_the_other_labels() -> None:
    z = torch.linspace(-3.0, 3.0, 5, dtype=torch.float64).reshape(5, 1, 1).expand(5, 1, 2)
    together = subset_mixture(DESIGN, INCLUSIONS["between"], EFFECT)
    for row in range(len(DESIGN)):
        alone = subset_mixture(DESIGN[row : row + 1], INCLUSIONS["between"], EFFECT)
        torch.testing.assert_close(
            alone.log_density(z, torch.tensor([0])), together.log_density(z, torch.tensor([row]))
        )


def test_the_control_is_standard_normal() -> None:
    z = torch.from_numpy(np.random.default_rng(0).normal(size=(4, 3, 2)))
    label = torch.zeros(3, dtype=torch.int64)
    for rows in ([0], [0, 5]):
        mixture = subset_mixture(DESIGN[rows], INCLUSIONS["between"], EFFECT)
        expected = Normal(0.0, 1.0).log_prob(z).sum(-1)
        torch.testing.assert_close(mixture.log_density(z, label), expected)


def test_a_certain_mask_needs_one_component() -> None:
    assert subset_mixture(DESIGN[1:3], INCLUSIONS["ones"], EFFECT).means.shape[1] == 1
    assert subset_mixture(DESIGN[:3], INCLUSIONS["zeros"], EFFECT).means.shape[1] == 1
    assert subset_mixture(DESIGN[5:6], INCLUSIONS["between"], EFFECT).means.shape[1] == 8


@pytest.mark.parametrize("row", range(len(DESIGN)))
def test_density_integrates_to_one(row: int) -> None:
    grid = torch.linspace(-25.0, 25.0, 5001, dtype=torch.float64)
    for j in range(2):
        mixture = subset_mixture(
            DESIGN[row : row + 1], INCLUSIONS["between"][:, j : j + 1], EFFECT[:, j : j + 1]
        )
        density = mixture.log_density(grid.reshape(-1, 1, 1), torch.tensor([0])).exp().squeeze(1)
        assert torch.trapezoid(density, grid).item() == pytest.approx(1.0, abs=1e-9)


@each_inclusion
def test_sample_moments(inclusion: Tensor) -> None:
    n = 20_000
    label = torch.arange(len(DESIGN)).repeat_interleave(n)
    mixture = subset_mixture(DESIGN, inclusion, EFFECT)
    z = mixture.sample(label, torch.Generator().manual_seed(0)).reshape(len(DESIGN), n, 2)
    mean, variance = shift_moments(DESIGN, inclusion, EFFECT)
    total = variance + 1.0
    assert ((z.mean(1) - mean).abs() < 5.0 * (total / n).sqrt()).all()
    fourth = (z - mean.unsqueeze(1)).pow(4).mean(1)
    error = ((fourth - total.square()) / n).sqrt()
    assert ((z.var(1) - total).abs() < 5.0 * error).all()


def test_latents_are_drawn_with_masks_of_their_own() -> None:
    effect = torch.full((1, 2), 10.0, dtype=torch.float64)
    mixture = subset_mixture(torch.ones(1, 1).double(), torch.full_like(effect, 0.5), effect)
    z = mixture.sample(torch.zeros(4000, dtype=torch.int64), torch.Generator().manual_seed(0))
    on = (z > 5.0).double()
    assert torch.corrcoef(on.T)[0, 1].abs().item() < 0.08


def test_eight_parts_are_summed_out_and_nine_are_refused() -> None:
    effect, q = torch.ones(9, 1, dtype=torch.float64), torch.full((9, 1), 0.5).double()
    design = torch.ones(1, 9, dtype=torch.float64)
    z = torch.tensor([[[2.5]]], dtype=torch.float64)
    eight = subset_mixture(design[:, :8], q[:8], effect[:8])
    binomial = [math.comb(8, k) / 2**8 for k in range(9)]
    by_hand = sum(p * Normal(float(k), 1.0).log_prob(z).exp() for k, p in enumerate(binomial))
    assert isinstance(by_hand, Tensor)
    torch.testing.assert_close(
        eight.log_density(z, torch.tensor([0])), by_hand.log().squeeze(-1), atol=1e-6, rtol=1e-6
    )
    with pytest.raises(OptionError, match=r"combines 9 perturbations.* at most 8"):
        subset_mixture(design, q, effect)


def test_no_labels_and_no_perturbations() -> None:
    empty = subset_mixture(torch.zeros(2, 0), torch.zeros(0, 3), torch.zeros(0, 3))
    z = torch.randn(1, 4, 3, generator=torch.Generator().manual_seed(0))
    expected = Normal(0.0, 1.0).log_prob(z).sum(-1)
    torch.testing.assert_close(empty.log_density(z, torch.tensor([0, 1, 1, 0])), expected)
    assert isinstance(empty, SubsetMixture)


@each_inclusion
def test_moments_with_uncertain_effects_are_those_over_masks_and_effects(
    inclusion: Tensor,
) -> None:
    mean, variance = shift_moments(DESIGN, inclusion, EFFECT, VARIANCE)
    first = torch.zeros_like(mean)
    second = torch.zeros_like(mean)
    for probability, mask in every_mask(inclusion):
        shift = DESIGN @ (mask * EFFECT)
        first += probability * shift
        second += probability * (shift.square() + DESIGN.square() @ (mask * VARIANCE))
    torch.testing.assert_close(mean, first)
    torch.testing.assert_close(variance, second - first.square(), atol=1e-12, rtol=1e-10)


@each_inclusion
def test_density_with_uncertain_effects_is_the_mean_over_all_masks(inclusion: Tensor) -> None:
    z = torch.from_numpy(np.random.default_rng(2).normal(0.0, 2.0, size=(3, 16, 2)))
    label = torch.arange(16) % len(DESIGN)
    density = torch.zeros(3, 16, dtype=torch.float64)
    for probability, mask in every_mask(inclusion):
        shift = (DESIGN @ (mask * EFFECT))[label]
        # a perturbation that is in a label twice moves it twice by the same effect
        spread = (1.0 + DESIGN.square() @ (mask * VARIANCE)).sqrt()[label]
        density += probability * Normal(shift, spread).log_prob(z).sum(-1).exp()
    mixture = subset_mixture(DESIGN, inclusion, EFFECT, VARIANCE)
    torch.testing.assert_close(mixture.log_density(z, label), density.log())


@each_inclusion
@pytest.mark.parametrize("variance", [None, VARIANCE], ids=["known", "uncertain"])
def test_moments_of_drawn_shifts_and_of_drawn_latents(
    inclusion: Tensor, variance: Tensor | None
) -> None:
    n = 20_000
    label = torch.arange(len(DESIGN)).repeat_interleave(n)
    mixture = subset_mixture(DESIGN, inclusion, EFFECT, variance)
    mean, spread = shift_moments(DESIGN, inclusion, EFFECT, variance)
    for draw, total in ((mixture.sample_shift, spread), (mixture.sample, spread + 1.0)):
        drawn = draw(label, torch.Generator().manual_seed(0)).reshape(len(DESIGN), n, 2)
        assert ((drawn.mean(1) - mean).abs() <= 5.0 * (total / n).sqrt() + 1e-12).all()
        fourth = (drawn - mean.unsqueeze(1)).pow(4).mean(1)
        error = ((fourth - total.square()).clamp(min=0.0) / n).sqrt()
        assert ((drawn.var(1) - total).abs() <= 5.0 * error + 1e-12).all()


def test_members_are_the_parts_of_each_label_with_their_doses() -> None:
    dose, member = members(DESIGN)
    assert dose.shape == member.shape == (len(DESIGN), 3)
    for row, doses, parts in zip(DESIGN, dose, member, strict=True):
        rebuilt = torch.zeros_like(row).index_add(0, parts, doses)
        assert torch.equal(rebuilt, row)
    assert members(DESIGN[:1])[0].shape == (1, 0)
    assert members(DESIGN[[1, 6]])[0].shape == (2, 1)


@pytest.mark.skipif(not compiled.available(), reason="numba is not installed")
@pytest.mark.parametrize("uncertain", [False, True])
@pytest.mark.parametrize("order", [1, 2, 3])
@torch.no_grad()
def test_the_compiled_density_is_that_of_float64(order: int, uncertain: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    design = torch.eye(4)
    design[0, :order] = 1.0
    inclusion = torch.rand(4, 5, generator=generator)
    inclusion[1], inclusion[2] = 0.0, 1.0  # components that cannot occur
    effect = 3.0 * torch.randn(4, 5, generator=generator)
    variance = torch.rand(4, 5, generator=generator) if uncertain else None
    z = 4.0 * torch.randn(6, 9, 5, generator=generator)
    label = torch.tensor([0, 1, 2, 3, 0, 1, 2, 3, 0])
    parts = (design, inclusion, effect, *([] if variance is None else [variance]))
    assert compiled.usable(z, *parts)
    found = subset_mixture(*parts).log_density(z, label)
    exact = subset_mixture(*(part.double() for part in parts)).log_density(z.double(), label)
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-4)
    z[1, 2, 3] = torch.nan
    broken = subset_mixture(*parts).log_density(z, label)
    assert torch.isnan(broken[1, 2])
    assert torch.isfinite(broken).sum() == broken.numel() - 1
