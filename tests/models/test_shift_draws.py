"""Averaging over masks exactly, or by a draw a batch, or by a draw a cell: one expectation."""

import math

import pytest
import torch
from torch import Tensor

from sparseshift.data.cells import Cells
from sparseshift.models.effects import NormalEffect, PointEffect
from sparseshift.models.mask_priors import BetaMap
from sparseshift.models.masks import BernoulliMask, FixedMask
from sparseshift.models.priors import AveragedShift, Shift, ShiftNoise, ShiftPrior

# the control, singles, doubles, a triple, a dose of 2, a dose of 2 beside another
DESIGN = torch.tensor(
    [[0, 0, 0], [1, 0, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1], [1, 1, 1], [0, 2, 0], [2, 0, 1]],
    dtype=torch.float64,
)
EFFECT = torch.tensor([[2.0, -0.5], [0.4, 3.0], [-1.2, 0.7]], dtype=torch.float64)
LOGIT = torch.tensor([[-1.0, 2.0], [0.0, -2.0], [1.0, -0.4]], dtype=torch.float64)
LOG_STD = torch.tensor([[-0.5, -2.0], [0.2, -1.0], [-0.1, 0.3]], dtype=torch.float64)


def prior_of(draw: str, *, normal: bool = False, temperature: float = 1.0) -> ShiftPrior:
    """Three perturbations, two latents."""
    table = EFFECT.clone()
    effect = NormalEffect(table, LOG_STD.clone(), 1.0) if normal else PointEffect(table)
    return ShiftPrior(effect, BernoulliMask(LOGIT.clone(), BetaMap(3.0), temperature), draw)


def cells_of(n_each: int) -> Cells:
    """As many cells of each label."""
    n = n_each * len(DESIGN)
    label = torch.arange(len(DESIGN)).repeat_interleave(n_each)
    return Cells(torch.ones(n, 4).double(), label, torch.zeros(n, dtype=torch.int64), DESIGN)


@pytest.mark.parametrize("normal", [False, True], ids=["point", "normal"])
@pytest.mark.parametrize("draw", ["per_batch", "per_cell"])
@torch.no_grad()
def test_the_mean_over_draws_is_the_exact_average(draw: str, normal: bool) -> None:
    cells, n_draws = cells_of(2), 3000
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(cells.n_cells, 2, generator=generator, dtype=torch.float64)
    std = torch.rand(cells.n_cells, 2, generator=generator, dtype=torch.float64) + 0.2
    exact_prior, prior = prior_of("marginal", normal=normal), prior_of(draw, normal=normal)
    average = exact_prior.shift(cells, exact_prior.draw_noise(cells, None))
    assert isinstance(average, AveragedShift)
    exact = average.moments()
    shifts = torch.stack(
        [prior.shift(cells, prior.draw_noise(cells, generator)).mean for _ in range(n_draws)]
    )
    assert exact.variance is not None
    error = (exact.variance / n_draws).sqrt()
    assert ((shifts.mean(0) - exact.mean).abs() <= 4.0 * error + 1e-12).all()
    kl = torch.stack(
        [exact._replace(mean=s, variance=None).kl_divergence(mean, std) for s in shifts]
    )
    difference = (kl.mean(0) - exact.kl_divergence(mean, std)).abs()
    assert (difference <= 4.0 * kl.std(0) / math.sqrt(n_draws) + 1e-12).all()
    unshifted = cells.label == 0
    assert (difference[unshifted] < 1e-12).all()
    assert (kl.std(0)[~unshifted] > 0.01).all()


@pytest.mark.parametrize("draw", ["per_batch", "per_cell"])
@torch.no_grad()
def test_a_drawn_shift_is_a_sum_of_whole_effects(draw: str) -> None:
    cells, prior = cells_of(40), prior_of(draw)
    noise = prior.draw_noise(cells, torch.Generator().manual_seed(0))
    shift = prior.shift(cells, noise)
    assert isinstance(shift, Shift)
    assert shift.variance is None
    for label, row in enumerate(DESIGN):
        own = shift.mean[cells.label == label]
        possible = torch.stack(
            [row @ (mask * EFFECT) for mask in every_mask()]  # (masks, latents)
        )
        for j in range(2):
            nearest = (own[:, j, None] - possible[None, :, j]).abs().min(1).values
            assert (nearest < 1e-12).all()
        # one mask a perturbation is the same for all its cells; masks of cells differ
        alike = bool((own == own[0]).all())
        assert alike == (draw == "per_batch" or label == 0)


def every_mask() -> list[Tensor]:
    """All masks of three perturbations, the same for both latents."""
    bits = torch.cartesian_prod(*[torch.tensor([0.0, 1.0]).double()] * 3)
    return [b.unsqueeze(1).expand(3, 2) for b in bits]


@torch.no_grad()
def test_masks_of_a_cell_are_independent_of_each_other_and_of_other_cells() -> None:
    cells, prior = cells_of(4000), prior_of("per_cell")
    noise = prior.draw_noise(cells, torch.Generator().manual_seed(1))
    shift = prior.shift(cells, noise).mean
    double = shift[cells.label == 3]
    a, b = (
        ((double[:, 0] - only).abs() < 1e-9) | ((double[:, 0] - 2.4).abs() < 1e-9)
        for only in (2.0, 0.4)
    )
    pairs = [(a[:-1], a[1:]), (a, b), (a, (double[:, 1] + 0.5).abs() < 1e-9)]
    q = LOGIT.sigmoid()
    assert a.double().mean().item() == pytest.approx(q[0, 0].item(), abs=0.03)
    assert b.double().mean().item() == pytest.approx(q[1, 0].item(), abs=0.03)
    for x, y in pairs:
        together = torch.corrcoef(torch.stack([x, y]).double())[0, 1]
        assert together.abs().item() < 0.07


@pytest.mark.parametrize("temperature", [0.5, 1.0])
@pytest.mark.parametrize("draw", ["per_batch", "per_cell"])
def test_gradient_of_the_logits_is_that_of_the_relaxed_draw(draw: str, temperature: float) -> None:
    cells, prior = cells_of(3), prior_of(draw, temperature=temperature)
    noise = prior.draw_noise(cells, torch.Generator().manual_seed(2))
    assert noise.mask is not None
    weight = torch.linspace(-1.0, 2.0, cells.n_cells * 2).double().reshape(-1, 2)
    (weight * prior.shift(cells, noise).mean).sum().backward()
    logit = LOGIT.clone().requires_grad_()
    relaxed = torch.zeros(cells.n_cells, 2, dtype=torch.float64)
    for n in range(cells.n_cells):
        doses = DESIGN[cells.label[n]]
        for place, p in enumerate(doses.argsort(descending=True, stable=True)):
            if doses[p] == 0:
                continue
            u = noise.mask[n, place] if draw == "per_cell" else noise.mask[p]
            mask = ((logit[p] + u.log() - (1.0 - u).log()) / temperature).sigmoid()
            relaxed[n] = relaxed[n] + doses[p] * mask * EFFECT[p]
    (weight * relaxed).sum().backward()
    assert isinstance(prior.mask, BernoulliMask)
    torch.testing.assert_close(prior.mask.logit.grad, logit.grad)


@pytest.mark.parametrize("draw", ["marginal", "per_batch", "per_cell"])
def test_certain_masks_make_all_draws_one(draw: str) -> None:
    cells = cells_of(2)
    mask = FixedMask(torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]).double())
    prior = ShiftPrior(PointEffect(EFFECT.clone()), mask, draw)
    noise = prior.draw_noise(cells, torch.Generator().manual_seed(0))
    shift = prior.shift(cells, noise)
    expected = (DESIGN @ (mask.inclusion_probability() * EFFECT))[cells.label]
    torch.testing.assert_close(shift.mean, expected)
    variance = (shift.moments() if isinstance(shift, AveragedShift) else shift).variance
    assert variance is None or not variance.any()


def test_noise_is_its_generators_and_has_the_shape_of_the_draw() -> None:
    cells = cells_of(2)
    assert prior_of("marginal").draw_noise(cells, None) == ShiftNoise()
    for draw, shape in (("per_batch", (3, 2)), ("per_cell", (16, 3, 2))):
        a, b, c = (
            prior_of(draw).draw_noise(cells, torch.Generator().manual_seed(s)) for s in (0, 0, 1)
        )
        for x, y, z in zip(a, b, c, strict=True):
            assert x is not None
            assert y is not None
            assert z is not None
            assert torch.equal(x, y)
            assert not torch.equal(x, z)
        assert a.mask is not None
        assert a.mask.shape == shape


def test_costs_of_masks_and_effects_add_up() -> None:
    prior = prior_of("per_batch", normal=True)
    expected = BetaMap(3.0).cost(LOGIT, 10) + NormalEffect(EFFECT, LOG_STD, 1.0).cost()
    torch.testing.assert_close(prior.cost(10).detach(), expected.detach())


def test_new_rows_are_on_and_share_nothing_with_the_trained_prior() -> None:
    rows = torch.tensor([[9.0, -9.0]]).double()
    for normal in (False, True):
        prior = prior_of("per_batch", normal=normal)
        longer = prior.extended(rows)
        assert torch.equal(longer.effect(), torch.cat([EFFECT, rows]))
        assert torch.equal(
            longer.inclusion_probability(), torch.cat([LOGIT.sigmoid(), torch.ones(1, 2).double()])
        )
        assert longer.draw == "per_batch"
        variance, trained = longer.effects.variance(), prior.effects.variance()
        if normal:
            assert variance is not None
            assert trained is not None
            torch.testing.assert_close(variance[:3], trained)
            torch.testing.assert_close(variance[3], trained.median(0).values)
        pointers = {p.data_ptr() for p in prior.state_dict().values()}
        assert not pointers & {p.data_ptr() for p in longer.state_dict().values()}
        assert longer.extended(rows[:0]).effect().shape == (4, 2)
