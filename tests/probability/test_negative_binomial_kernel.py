"""The compiled negative binomial is that of torch's operations in float64, to the digits of float32."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sparseshift import compiled
from sparseshift.probability import negative_binomial_kernel as kernel
from sparseshift.probability.negative_binomial import softmax_log_prob

pytestmark = pytest.mark.skipif(not compiled.available(), reason="numba is not installed")

SCALES = {"few": 0.2, "some": 20.0, "many": 5000.0}
each_scale = pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES)


def screen(scale: float, n_genes: int = 37) -> tuple[Tensor, Tensor, Tensor]:
    """Counts (a cell without any, a gene without any), scores, dispersions from tiny to Poisson."""
    generator = torch.Generator().manual_seed(0)
    counts = torch.poisson(scale * 2.0 * torch.rand(9, n_genes, generator=generator), generator)
    counts[3], counts[:, 5] = 0.0, 0.0
    scores = 3.0 * torch.randn(9, n_genes, generator=generator)
    return counts, scores, torch.linspace(-12.0, 40.0, n_genes)


def value_and_slopes(counts: Tensor, scores: Tensor, log_t: Tensor) -> list[Tensor]:
    """Log probabilities, and slopes of a weighted sum of them, as float64."""
    scores, log_t = scores.clone().requires_grad_(), log_t.clone().requires_grad_()
    value = softmax_log_prob(counts, scores, log_t)
    weight = torch.linspace(-1.0, 2.0, len(counts)).to(value)
    return [
        t.detach().double() for t in (value, *torch.autograd.grad(value @ weight, (scores, log_t)))
    ]


@each_scale
def test_value_and_slopes_are_those_of_float64(scale: float) -> None:
    data = screen(scale)
    assert compiled.usable(*data)
    exact = value_and_slopes(*(t.double() for t in data))
    for found, expected in zip(value_and_slopes(*data), exact, strict=True):
        size = expected.abs().max()
        torch.testing.assert_close(found, expected, rtol=2e-4, atol=2e-5 * size.item())


@each_scale
def test_it_is_no_less_exact_than_torch(scale: float) -> None:
    data = screen(scale)
    exact = value_and_slopes(*(t.double() for t in data))
    with compiled.switched_off():
        plain = value_and_slopes(*data)
    for ours, torchs, expected in zip(value_and_slopes(*data), plain, exact, strict=True):
        error, allowed = (ours - expected).abs().max(), (torchs - expected).abs().max()
        assert error <= 4.0 * allowed + 1e-6 * expected.abs().max()


@each_scale
@torch.no_grad()
def test_particles_are_scored_the_same(scale: float) -> None:
    counts, _, log_t = screen(scale)
    scores = 2.0 * torch.randn(5, *counts.shape, generator=torch.Generator().manual_seed(1))
    found = softmax_log_prob(counts, scores, log_t)
    exact = softmax_log_prob(counts.double(), scores.double(), log_t.double())
    assert found.shape == (5, 9)
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("grad", [True, False])
def test_what_is_not_finite_stays_so(bad: float, grad: bool) -> None:
    counts, scores, log_t = screen(20.0)
    scores[2, 3] = bad
    with torch.set_grad_enabled(grad):
        found = softmax_log_prob(counts, scores, log_t)
    assert not torch.isfinite(found[2])
    assert torch.isfinite(found[[0, 1, 4, 5]]).all()


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.double(),
        lambda t: t.t().contiguous().t(),
        lambda t: torch.empty_like(t, device="meta"),
    ],
    ids=["float64", "not contiguous", "another device"],
)
def test_other_tensors_are_left_to_torch(change: Callable[[Tensor], Tensor]) -> None:
    counts, scores, log_t = screen(1.0)
    assert compiled.usable(counts, scores, log_t)
    assert not compiled.usable(counts, change(scores), log_t)


def test_switched_off_it_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    data = screen(1.0)

    def never(*_: Tensor) -> Tensor:
        raise AssertionError("the kernel was called")

    monkeypatch.setattr(kernel, "slopes", never)
    monkeypatch.setattr(kernel, "rates", never)
    with compiled.switched_off():
        softmax_log_prob(*data)
        with torch.no_grad():
            softmax_log_prob(*data)
    with pytest.raises(AssertionError, match="the kernel was called"):
        softmax_log_prob(*data)


def test_without_numba_torch_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    data = screen(20.0)
    expected = value_and_slopes(*data)
    monkeypatch.setattr(compiled, "numba", None)
    assert not compiled.usable(*data)
    for found, value in zip(value_and_slopes(*data), expected, strict=True):
        torch.testing.assert_close(found, value, rtol=1e-3, atol=1e-4 * value.abs().max().item())
