import copy
from typing import Any

import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits
from torch import nn

from sparseshift.training.optimizer import FlatAdam, ParameterGroup
from sparseshift.training.threads import one_thread


def net() -> nn.Sequential:
    """Four tensors, in float64."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)).double()


@pytest.mark.parametrize("clip", [1e-2, 0.7, 1e6])
@pytest.mark.parametrize("grouped", [True, False])
def test_steps_are_those_of_adam_with_clipped_gradients(clip: float, grouped: bool) -> None:
    ours = net()
    theirs = copy.deepcopy(ours)
    cut = 2 if grouped else 4
    mine, other = (list(m.parameters()) for m in (ours, theirs))
    rates = [0.01, 0.1]
    flat = FlatAdam(
        [ParameterGroup(p, r) for p, r in zip((mine[:cut], mine[cut:]), rates, strict=True)], clip
    )
    groups = [
        {"params": p, "lr": r} for p, r in zip((other[:cut], other[cut:]), rates, strict=True) if p
    ]
    adam = torch.optim.Adam(groups, eps=1e-8)
    x = torch.randn(20, 3, dtype=torch.float64)
    for step in range(15):
        scale = 1.0 - step / 20.0
        flat.step(ours(x).square().sum(), scale)
        adam.zero_grad()
        theirs(x).square().sum().backward()
        nn.utils.clip_grad_norm_(theirs.parameters(), clip)
        for group, rate in zip(adam.param_groups, rates, strict=False):
            group["lr"] = rate * scale
        adam.step()
        for a, b in zip(mine, other, strict=True):
            torch.testing.assert_close(a, b)
            # Adam hardly depends on the gradient's scale: look at the gradient too
            torch.testing.assert_close(a.grad, b.grad)


def test_parameters_keep_their_values_and_can_be_loaded() -> None:
    model = net()
    before = copy.deepcopy(model.state_dict())
    flat = FlatAdam([ParameterGroup(list(model.parameters()), 0.1)], 1.0)
    assert flat.values.numel() == sum(p.numel() for p in model.parameters())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    x = torch.ones(1, 3, dtype=torch.float64)
    flat.step(model(x).sum(), 1.0)
    assert not torch.equal(model.state_dict()["0.weight"], before["0.weight"])
    # loading writes into the vector, so that steps go on from there
    model.load_state_dict(before)
    flat.step(model(x).sum() * 0.0, 0.0)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def blas_threads() -> set[int]:
    """Of every BLAS that is loaded."""
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_blas_has_one_thread_too() -> None:
    with threadpool_limits(2, "blas"):
        with one_thread():
            assert blas_threads() == {1}
        assert blas_threads() == {2}


def test_slopes_that_are_in_place_already_are_not_copied() -> None:
    plain, placed = net(), net()
    optimizers = [
        FlatAdam([ParameterGroup(list(m.parameters()), 0.1)], 1.0) for m in (plain, placed)
    ]
    x = torch.randn(4, 3, dtype=torch.float64)
    slopes = torch.autograd.grad(plain(x).square().sum(), list(plain.parameters()))
    first, *others = placed.parameters()
    assert first.grad is not None
    first.grad.copy_(slopes[0])
    # a loss whose gradient by `first` is what is already there, by the others as they are
    loss = _InPlace.apply(first)  # type: ignore[no-untyped-call]
    loss = loss + sum((p * s).sum() for p, s in zip(others, slopes[1:], strict=True))
    optimizers[0].step(plain(x).square().sum(), 1.0)
    optimizers[1].step(loss, 1.0)
    for own, other in zip(plain.parameters(), placed.parameters(), strict=True):
        torch.testing.assert_close(own, other)


class _InPlace(torch.autograd.Function):
    """Zero, with a gradient that lies where the parameter keeps its own."""

    @staticmethod
    def forward(ctx: Any, parameter: nn.Parameter) -> torch.Tensor:
        ctx.place = parameter.grad
        return parameter.new_zeros(())

    @staticmethod
    def backward(ctx: Any, *_: torch.Tensor) -> torch.Tensor:
        return ctx.place


def test_one_thread_is_given_back_also_after_an_error() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
        with pytest.raises(RuntimeError, match="stop"), one_thread():
            raise RuntimeError("stop")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
