"""Adam on parameters laid out in one vector: a step costs a few operations, not a few each tensor.

At the sizes of these models (25 tensors, 100,000 weights, batches of 128 cells) the bookkeeping of
zeroing, clipping and stepping every tensor takes a fifth of a step; on one vector, almost nothing.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn


class ParameterGroup(NamedTuple):
    """Parameters that share a learning rate."""

    parameters: Sequence[nn.Parameter]
    learning_rate: float


class FlatAdam:
    """Adam (Kingma & Ba 2015) with clipping of the gradient's norm.

    The parameters become views of one vector a group, and so do their gradients.

    Args:
        groups: at least one parameter in all.
        gradient_clip: largest norm of the gradient over all groups; None: any.
        eps: added to the root of the second moment.
        weight_decay: added to the gradient, as a multiple of the weights.
    """

    def __init__(
        self,
        groups: Sequence[ParameterGroup],
        gradient_clip: float | None,
        *,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        filled = [group for group in groups if group.parameters]
        self.rates = [group.learning_rate for group in filled]
        self.flat = [_flatten(group.parameters) for group in filled]
        self.gradient_clip = math.inf if gradient_clip is None else gradient_clip
        self.adam = torch.optim.Adam(
            [{"params": [vector]} for vector in self.flat],
            eps=eps,
            weight_decay=weight_decay,
            fused=True,
        )

    def step(self, loss: Tensor, rate: float) -> None:
        """One step down the gradient of `loss`, with all learning rates scaled by `rate`."""
        for vector in self.flat:
            _gradient(vector).zero_()
        loss.backward()
        norm = torch.stack([_gradient(vector).norm() for vector in self.flat]).norm()
        scale = (self.gradient_clip / (norm + 1e-6)).clamp(max=1.0)
        for vector, largest, group in zip(
            self.flat, self.rates, self.adam.param_groups, strict=True
        ):
            _gradient(vector).mul_(scale)
            group["lr"] = largest * rate
        self.adam.step()

    def state(self) -> dict[str, Tensor]:
        """Moments and step counts, by name; empty before the first step."""
        return {
            f"{i}.{name}": value
            for i, vector in enumerate(self.flat)
            for name, value in self.adam.state[vector].items()
        }

    def load(self, state: dict[str, Tensor]) -> None:
        """Takes over what `state` gave."""
        for name, value in state.items():
            i, key = name.split(".", 1)
            self.adam.state[self.flat[int(i)]][key] = value.clone()


def _gradient(vector: Tensor) -> Tensor:
    gradient = vector.grad
    if gradient is None:  # unreachable: set when flattened
        raise RuntimeError("A flat parameter has lost its gradient.")
    return gradient


def _flatten(parameters: Sequence[nn.Parameter]) -> nn.Parameter:
    flat = nn.Parameter(torch.cat([p.detach().reshape(-1) for p in parameters]))
    flat.grad = torch.zeros_like(flat)
    start = 0
    for parameter in parameters:
        stop = start + parameter.numel()
        parameter.data = flat.data[start:stop].view_as(parameter)
        parameter.grad = flat.grad[start:stop].view_as(parameter)
        start = stop
    return flat
