"""Encoder and decoder: two hidden layers each, as in the paper (Lopez et al. 2023, appendix)."""

from collections.abc import Sequence

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
        return self.layers(x)


class Encoder(nn.Module):
    """q(z | x) = N(mean(x), diag(std(x)^2)), from log(1 + counts).

    It sees neither perturbation nor batch, so that it works for perturbations it never met.
    """

    def __init__(self, hidden: Hidden, n_latents: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.mean = nn.Linear(hidden.n_out, n_latents)
        self.log_variance = nn.Linear(hidden.n_out, n_latents)

    def forward(self, counts: Tensor) -> tuple[Tensor, Tensor]:
        """(cells, genes) to mean and standard deviation, each (cells, latents)."""
        h = self.hidden(counts.log1p())
        # clamped far outside what data reach: keeps exp finite while early steps are wild
        return self.mean(h), (0.5 * self.log_variance(h).clamp(-14.0, 6.0)).exp()


class Decoder(nn.Module):
    """log rho(z, batch): log proportions of the genes, summing to one over genes.

    The batch enters the first layer as one-hot columns beside z.
    """

    def __init__(self, hidden: Hidden, n_batches: int, n_genes: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.n_batches = n_batches
        self.log_scale = nn.Linear(hidden.n_out, n_genes)

    def forward(self, z: Tensor, batch: Tensor) -> Tensor:
        """Z (..., cells, latents), batch (cells,) to log proportions (..., cells, genes)."""
        if self.n_batches > 1:
            one_hot = F.one_hot(batch, self.n_batches).to(z.dtype)
            z = torch.cat([z, one_hot.expand(*z.shape[:-1], -1)], dim=-1)
        flat = self.hidden(z.reshape(-1, z.shape[-1]))
        scale = self.log_scale(flat).log_softmax(-1)
        return scale.reshape(*z.shape[:-1], -1)
