"""The compiled KL is that of the moments in float64, to the digits of float32."""

import pytest
import torch
from torch import Tensor

from sparseshift import compiled
from sparseshift.models.priors import AveragedShift
from sparseshift.probability.masked_shift_kl import masked_shift_kl

pytestmark = pytest.mark.skipif(not compiled.available(), reason="numba is not installed")

# the control, singles, doubles, a triple, one perturbation twice, one never
DESIGN = torch.tensor(
    [[0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [1, 1, 0, 0], [1, 1, 1, 0], [2, 0, 1, 0]]
).float()
N_LATENTS = 17  # more than what a vector holds


def tables() -> list[Tensor]:
    """Inclusion probabilities with 0 and 1 among them, effects, means, standard deviations."""
    generator = torch.Generator().manual_seed(0)
    inclusion = torch.rand(4, N_LATENTS, generator=generator)
    inclusion[0, :3], inclusion[2, 5:8] = 0.0, 1.0
    effect = 2.0 * torch.randn(4, N_LATENTS, generator=generator)
    both = torch.randn(40, 2 * N_LATENTS, generator=generator)
    mean, log_std = both.split(N_LATENTS, dim=1)  # as an encoder gives them: not contiguous
    return [inclusion, effect, mean, (3.0 * log_std).clamp(-7.0, 3.0).exp()]


def value_and_slopes(design: Tensor, given: list[Tensor]) -> list[Tensor]:
    """KL of each cell, and slopes of a weighted sum, as float64."""
    inclusion, effect, mean, std = (t.detach().clone().requires_grad_() for t in given)
    label = torch.arange(40) % len(design)
    value = AveragedShift(design, label, inclusion, effect).kl_divergence(mean, std)
    weight = torch.linspace(-1.0, 2.0, 40).to(value)
    slopes = torch.autograd.grad(value @ weight, (inclusion, effect, mean, std))
    return [t.detach().double() for t in (value, *slopes)]


def test_value_and_slopes_are_those_of_float64() -> None:
    given = tables()
    assert compiled.usable(DESIGN, *given[:2])
    exact = value_and_slopes(DESIGN.double(), [t.double() for t in given])
    for found, expected in zip(value_and_slopes(DESIGN, given), exact, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)


def test_it_is_no_less_exact_than_torch() -> None:
    given = tables()
    exact = value_and_slopes(DESIGN.double(), [t.double() for t in given])
    with compiled.switched_off():
        plain = value_and_slopes(DESIGN, given)
    for ours, torchs, expected in zip(value_and_slopes(DESIGN, given), plain, exact, strict=True):
        error, allowed = (ours - expected).abs().max(), (torchs - expected).abs().max()
        assert error <= 4.0 * allowed + 1e-6 * expected.abs().max()


def test_it_is_taken_for_known_effects_in_float32_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def watched(*given: Tensor) -> Tensor:
        calls.append(given)
        return masked_shift_kl(*given)

    monkeypatch.setattr("sparseshift.models.priors.masked_shift_kl", watched)
    given = tables()
    shift = AveragedShift(DESIGN, torch.zeros(40, dtype=torch.int64), *given[:2])
    shift.kl_divergence(*given[2:])
    assert len(calls) == 1
    shift._replace(effect_variance=torch.ones(4, N_LATENTS)).kl_divergence(*given[2:])
    with compiled.switched_off():
        shift.kl_divergence(*given[2:])
    assert len(calls) == 1


def test_nan_comes_through() -> None:
    given = tables()
    given[2][7, 3] = torch.nan
    found = value_and_slopes(DESIGN, given)[0]
    assert found.isnan().nonzero().tolist() == [[7]]
