"""Encoder and decoder: two hidden layers each, as in the paper (Lopez et al. 2023, appendix)."""

from collections.abc import Sequence
from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NORMALISATIONS = ("layer", "batch", "none")


class Hidden(nn.Module):
    """Hidden layers: linear, normalisation, ReLU, dropout.

    Args:
        n_in: width of the input.
        widths: width of each hidden layer.
        normalisation: "layer", "batch" (momentum .01, eps 1e-3, as the paper's code) or "none".
        dropout: share of units dropped in training.
    """

    def __init__(
        self, n_in: int, widths: Sequence[int], normalisation: str, dropout: float
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in widths:
            layers.append(nn.Linear(n_in, width))
            if normalisation == "batch":
                layers.append(nn.BatchNorm1d(width, momentum=0.01, eps=1e-3))
            elif normalisation == "layer":
                layers.append(nn.LayerNorm(width))
            layers.append(nn.ReLU())
            if dropout > 0:
                layers.append(nn.Dropout(dropout))
            n_in = width
        self.layers = nn.Sequential(*layers)
        self.n_out = n_in

    def forward(self, x: Tensor) -> Tensor:
        """(cells, n_in) to (cells, n_out)."""
        layers = list(self.layers)
        while layers:
            layer, following = layers[0], layers[1] if len(layers) > 1 else None
            if isinstance(layer, nn.Linear) and _can_fold(following):
                x, layers = _folded(layer, following, x), layers[2:]
            else:
                x, layers = _apply(layer, x), layers[1:]
        return x


def _can_fold(norm: nn.Module | None) -> TypeGuard[nn.BatchNorm1d]:
    """Whether a normalisation is a fixed scale and shift: in scoring."""
    fixed = isinstance(norm, nn.BatchNorm1d) and not norm.training
    return fixed and not torch.is_grad_enabled()


def _folded(layer: nn.Linear, norm: nn.BatchNorm1d, x: Tensor) -> Tensor:
    """A linear layer with the normalisation after it in its weights: one pass less over particles."""
    if norm.running_mean is None or norm.running_var is None:
        raise RuntimeError("Batch normalisation in eval mode needs running statistics.")
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    bias = torch.addcmul(norm.bias, layer.bias - norm.running_mean, scale)
    return F.linear(x, layer.weight * scale.unsqueeze(1), bias)


def _apply(layer: nn.Module, x: Tensor) -> Tensor:
    # what the modules do, without what calling a module costs: a tenth of a step at 100 genes
    if isinstance(layer, nn.Linear):
        return linear(layer, x)
    if isinstance(layer, nn.BatchNorm1d):
        return torch.batch_norm(
            x,
            layer.weight,
            layer.bias,
            layer.running_mean,
            layer.running_var,
            layer.training,
            layer.momentum or 0.0,
            layer.eps,
            torch.backends.cudnn.enabled,
        )
    return x.relu_() if isinstance(layer, nn.ReLU) else layer(x)


def linear(layer: nn.Linear, x: Tensor) -> Tensor:
    """A linear layer, (..., n_in) to (..., n_out), without the overhead of calling a module."""
    return F.linear(x, layer.weight, layer.bias)


class Encoder(nn.Module):
    """q(z | x, given) = N(mean, diag(std^2)), from log(1 + counts) and what else is given.

    By default nothing else is: it sees neither perturbation nor batch, so that it works for
    perturbations it never met.

    Args:
        hidden: takes genes + n_given columns.
        n_latents: dimensions of z.
    """

    def __init__(self, hidden: Hidden, n_latents: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.mean = nn.Linear(hidden.n_out, n_latents)
        self.log_variance = nn.Linear(hidden.n_out, n_latents)

    def forward(self, counts: Tensor, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Counts (cells, genes), given (cells, n_given) to mean and std, each (cells, latents)."""
        x = counts.log1p()
        h = self.hidden(x if given is None else torch.cat([x, given], dim=-1))
        # clamped far outside what data reach: keeps exp finite while early steps are wild
        log_variance = linear(self.log_variance, h)
        return linear(self.mean, h), (0.5 * log_variance.clamp(-14.0, 6.0)).exp()


class Decoder(nn.Module):
    """Scores of genes from z and covariates; the likelihood says what scores mean.

    Args:
        hidden: takes n_latents + n_covariates columns, in this order.
        n_genes: genes.
    """

    def __init__(self, hidden: Hidden, n_genes: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.scores = nn.Linear(hidden.n_out, n_genes)

    def forward(self, z: Tensor, covariates: Tensor | None = None) -> Tensor:
        """Z (..., cells, latents), covariates (cells, n_covariates) to (..., cells, genes)."""
        if covariates is not None:
            z = torch.cat([z, covariates.expand(*z.shape[:-1], -1)], dim=-1)
        flat = self.hidden(z.reshape(-1, z.shape[-1]))
        return linear(self.scores, flat).view(*z.shape[:-1], -1)
