"""Encoder and decoder: two hidden layers each, as in the paper (Lopez et al. 2023, appendix)."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sparseshift.models.log_count_product import log_count_product

# far outside what data reach: keeps exp finite while early steps are wild
LOG_VARIANCE = (-14.0, 6.0)
NORMALISATIONS = ("layer", "batch", "none")

Function = Callable[[Tensor], Tensor]


class Affine(nn.Module):
    """X W + b.

    W is laid out by input, unlike that of nn.Linear, so that its gradient is too: copying that of a
    thousand genes transposed takes four times as long.

    Args:
        n_in: width of the input.
        n_out: width of the output.
    """

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        start = nn.Linear(n_in, n_out)
        self.weight = nn.Parameter(start.weight.detach().t().contiguous())
        self.bias = start.bias

    def forward(self, x: Tensor) -> Tensor:
        """(cells, n_in) to (cells, n_out)."""
        return torch.addmm(self.bias, x, self.weight)


class HiddenLayer(nn.Module):
    """dropout(relu(normalise(x W + b))).

    Under batch normalisation there is no b: the normalisation would take it out again.

    Args:
        n_in: width of the input.
        n_out: width of the output.
        normalisation: "layer", "batch" (momentum .01, eps 1e-3, as the paper's code) or "none".
        dropout: share of units dropped in training.
    """

    def __init__(self, n_in: int, n_out: int, normalisation: str, dropout: float) -> None:
        super().__init__()
        bound = 1.0 / math.sqrt(n_in)  # as nn.Linear
        self.weight = nn.Parameter(torch.empty(n_in, n_out).uniform_(-bound, bound))
        self.bias: nn.Parameter | None = None
        self.norm: nn.BatchNorm1d | nn.LayerNorm | None = None
        if normalisation == "batch":
            self.norm = nn.BatchNorm1d(n_out, momentum=0.01, eps=1e-3)
        else:
            self.bias = nn.Parameter(torch.empty(n_out).uniform_(-bound, bound))
            self.norm = nn.LayerNorm(n_out) if normalisation == "layer" else None
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        """(cells, n_in) to (cells, n_out)."""
        return self.activate(x @ self.weight)

    def activate(self, products: Tensor) -> Tensor:
        """What follows x W, (cells, n_out); may overwrite it."""
        if self.bias is not None:
            products = products + self.bias
        h = _normalised(self.norm, products).relu_()
        return F.dropout(h, self.dropout, self.training) if self.dropout > 0.0 else h

    def folded(self) -> tuple[Tensor, Tensor] | None:
        """W and b, if the layer is relu(x W + b) as it is now, else None.

        Batch normalisation, in eval mode a fixed scale and shift, goes into them: a pass less over
        all particles.
        """
        if self.training or isinstance(self.norm, nn.LayerNorm):
            return None
        if self.norm is None:
            return None if self.bias is None else (self.weight, self.bias)
        mean, variance = running_statistics(self.norm)
        scale = self.norm.weight * (variance + self.norm.eps).rsqrt()
        return self.weight * scale, torch.addcmul(self.norm.bias, mean, scale, value=-1.0)

    def prepared(self) -> Function:
        """The layer as it is now, for many cells without a gradient."""
        folded = self.folded()
        if folded is None:
            return self
        weight, bias = folded
        return lambda x: torch.addmm(bias, x, weight).relu_()

    @torch.no_grad()
    def add(self, amount: Tensor) -> None:
        """Adds `amount`, (n_out,), to x W for good."""
        if self.bias is not None:
            self.bias.add_(amount)
        elif isinstance(self.norm, nn.BatchNorm1d):
            running_statistics(self.norm)[0].sub_(amount)


def running_statistics(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """Running means and variances of a batch normalisation, (width,) each."""
    if norm.running_mean is None or norm.running_var is None:  # unreachable: they are tracked
        raise RuntimeError("Batch normalisation has lost its running statistics.")
    return norm.running_mean, norm.running_var


def _normalised(norm: nn.BatchNorm1d | nn.LayerNorm | None, x: Tensor) -> Tensor:
    if not isinstance(norm, nn.BatchNorm1d):
        return x if norm is None else norm(x)
    # what the module does, without what calling it costs
    return torch.batch_norm(
        x,
        norm.weight,
        norm.bias,
        norm.running_mean,
        norm.running_var,
        norm.training,
        norm.momentum or 0.0,
        norm.eps,
        torch.backends.cudnn.enabled,
    )


class Hidden(nn.Module):
    """Hidden layers one after the other.

    Args:
        n_in: width of the input.
        widths: width of each layer; none: the input goes through.
        normalisation: of every layer.
        dropout: of every layer.
    """

    def __init__(
        self, n_in: int, widths: Sequence[int], normalisation: str, dropout: float
    ) -> None:
        super().__init__()
        sizes = [n_in, *widths]
        layers = (HiddenLayer(*size, normalisation, dropout) for size in pairwise(sizes))
        self.layers = cast(Sequence[HiddenLayer], nn.ModuleList(layers))
        self.n_out = sizes[-1]

    def forward(self, x: Tensor) -> Tensor:
        """(cells, n_in) to (cells, n_out)."""
        for layer in self.layers:
            x = layer(x)
        return x

    def of_counts(self, counts: Tensor, given: Tensor | None) -> Tensor:
        """`forward` of [log(1 + counts), given].

        Args:
            counts: (cells, genes).
            given: (cells, n_given), or None.
        """
        if not self.layers:
            x = counts.log1p()
            return x if given is None else torch.cat([x, given], dim=-1)
        first, *others = self.layers
        if given is None:
            products = log_count_product(counts, first.weight)
        else:
            of_genes, of_given = first.weight.tensor_split([counts.shape[-1]])
            products = torch.addmm(log_count_product(counts, of_genes), given, of_given)
        x = first.activate(products)
        for layer in others:
            x = layer(x)
        return x

    def prepared(self) -> Function:
        """The layers as they are now, for many cells without a gradient."""
        layers = [layer.prepared() for layer in self.layers]

        def through(x: Tensor) -> Tensor:
            for layer in layers:
                x = layer(x)
            return x

        return through


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
        self.n_latents = n_latents
        self.head = Affine(hidden.n_out, 2 * n_latents)  # means, then log variances

    def forward(self, counts: Tensor, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Counts (cells, genes), given (cells, n_given) to mean and std, each (cells, latents)."""
        h = self.hidden.of_counts(counts, given)
        mean, log_variance = self.head.forward(h).split(self.n_latents, dim=-1)
        # hardtanh: a clamp whose gradient is one operation, not five
        return mean, (0.5 * F.hardtanh(log_variance, *LOG_VARIANCE)).exp()


class Decoder(nn.Module):
    """Scores of genes from z and covariates; the likelihood says what scores mean.

    Args:
        hidden: takes n_latents + n_covariates columns, in this order.
        n_genes: genes.

    Attributes:
        held: whether it stays in eval mode when the model goes to training: what batch normalisation
            does to a cell then depends on no other cell.
    """

    def __init__(self, hidden: Hidden, n_genes: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.scores = Affine(hidden.n_out, n_genes)
        self.held = False

    def train(self, mode: bool = True) -> "Decoder":
        """Training mode, unless held."""
        super().train(mode and not self.held)
        return self

    def forward(self, z: Tensor, covariates: Tensor | None = None) -> Tensor:
        """Z (..., cells, latents), covariates (cells, n_covariates) to (..., cells, genes)."""
        return self._decode(self.hidden, z, covariates)

    def prepared(self) -> Callable[[Tensor, Tensor | None], Tensor]:
        """The decoder as it is now, for many particles without a gradient."""
        return partial(self._decode, self.hidden.prepared())

    def _decode(self, hidden: Function, z: Tensor, covariates: Tensor | None) -> Tensor:
        if covariates is not None:
            z = torch.cat([z, covariates.expand(*z.shape[:-1], -1)], dim=-1)
        flat = hidden(z.reshape(-1, z.shape[-1]))
        return self.scores.forward(flat).view(*z.shape[:-1], -1)
