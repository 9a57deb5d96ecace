"""The weights of several models of one shape as rows of a few matrices, and Adam on those."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sparseshift.training.optimizer import Moments

Part = tuple[str, int, int, torch.Size]  # name, first column, last column, shape


class StackedWeights:
    """Models that share their arithmetic: their parameters become views of rows, and stay theirs.

    Args:
        models: of the same structure; changed in place: parameters and buffers become views.
        rates: learning rate of each parameter that is trained, by name.
        gradient_clip: largest norm of each model's gradient; None: any.
        eps: of Adam.
        weight_decay: of Adam.
    """

    def __init__(
        self,
        models: Sequence[nn.Module],
        rates: dict[str, float],
        gradient_clip: float | None,
        *,
        eps: float,
        weight_decay: float,
    ) -> None:
        named = [dict(model.named_parameters()) for model in models]
        self.rates = sorted(set(rates.values()))
        self.parts: list[list[Part]] = []
        self.matrices: list[Tensor] = []
        for rate in self.rates:
            names = [name for name in named[0] if rates.get(name) == rate]
            self.matrices.append(_matrix(named, names))
            self.parts.append(_parts(named[0], names))
            for row, parameters in zip(self.matrices[-1], named, strict=True):
                for name, first, last, shape in self.parts[-1]:
                    parameters[name].data = row[first:last].view(shape)
        self.fixed = {
            name: torch.stack([parameters[name].detach() for parameters in named])
            for name in named[0]
            if name not in rates
        }
        self.buffers = _stacked_buffers(models)
        self.gradient_clip = math.inf if gradient_clip is None else gradient_clip
        self.eps, self.weight_decay = eps, weight_decay
        self.moments = [Moments.of(matrix) for matrix in self.matrices]

    def leaves(self) -> list[Tensor]:
        """The matrices, (models, columns), as what a gradient is taken of."""
        return [matrix.detach().requires_grad_() for matrix in self.matrices]

    def by_name(self, leaves: Sequence[Tensor]) -> dict[str, Tensor]:
        """Every parameter and buffer, (models, ...), made of the leaves."""
        named = {
            name: leaf[:, first:last].view(-1, *shape)
            for leaf, parts in zip(leaves, self.parts, strict=True)
            for name, first, last, shape in parts
        }
        return named | self.fixed | self.buffers

    @torch.no_grad()
    def descend(self, gradients: Sequence[Tensor], rate: float) -> None:
        """One step of Adam for every model, its gradient clipped by its own norm.

        Args:
            gradients: of the leaves.
            rate: multiple of the learning rates.
        """
        norms = torch.stack([torch.linalg.vector_norm(g, dim=1) for g in gradients]).norm(dim=0)
        scale = (self.gradient_clip / (norms + 1e-6)).clamp(max=1.0).unsqueeze(1)
        for matrix, gradient, moments, largest in zip(
            self.matrices, gradients, self.moments, self.rates, strict=True
        ):
            moments.descend(
                matrix,
                gradient * scale,
                rate=largest * rate,
                eps=self.eps,
                weight_decay=self.weight_decay,
            )


def _matrix(named: Sequence[dict[str, nn.Parameter]], names: Sequence[str]) -> Tensor:
    rows = [torch.cat([own[name].detach().reshape(-1) for name in names]) for own in named]
    return torch.stack(rows)


def _parts(parameters: dict[str, nn.Parameter], names: Sequence[str]) -> list[Part]:
    parts, first = [], 0
    for name in names:
        last = first + parameters[name].numel()
        parts.append((name, first, last, parameters[name].shape))
        first = last
    return parts


def _stacked_buffers(models: Sequence[nn.Module]) -> dict[str, Tensor]:
    stacked = {
        name: torch.stack([dict(model.named_buffers())[name] for model in models])
        for name, _ in models[0].named_buffers()
    }
    for row, model in enumerate(models):
        for name, values in stacked.items():
            owner, _, own_name = name.rpartition(".")
            model.get_submodule(owner)._buffers[own_name] = values[row]
    return stacked
