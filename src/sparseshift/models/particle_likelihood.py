"""log p(x | z) of many particles: decoder and likelihood, a few particles at a time."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from sparseshift.compiled import arrays, compiled, inlined, usable
from sparseshift.data.cells import Cells
from sparseshift.models.likelihoods import NegativeBinomial
from sparseshift.models.vae import PerturbationVAE
from sparseshift.probability.elementary import f32
from sparseshift.probability.negative_binomial import count_term, inverse_dispersion
from sparseshift.probability.negative_binomial_kernel import rates_of_rows

OfParticles = Callable[[Tensor], Tensor]
_ZERO = f32(0.0)
_FLOATS = (
    120_000  # of a layer at once in loops: two of them and the weights stay in a core's cache
)


def decoded_at_once(device: torch.device) -> int:
    """Floats of decoder output to hold at once where nothing need be kept for a gradient.

    On a CPU as much as stays in a core's cache until it is summed up, elsewhere 200 MB.
    """
    return 300_000 if device.type == "cpu" else 50_000_000


def log_likelihood_of(model: PerturbationVAE, cells: Cells) -> OfParticles:
    """Log p(x | z) of these cells as a function of z, without a gradient and without -log(x!), in nats.

    What no particle changes is computed once, with the model as it is now.

    Args:
        model: usually in eval mode.
        cells: n cells.

    Returns:
        A function of z, (particles, n, latents), with values (particles, n).
    """
    layers = [layer.folded() for layer in model.decoder.hidden.layers]
    folded = [layer for layer in layers if layer is not None]
    if (
        folded
        and len(folded) == len(layers)
        and isinstance(model.likelihood, NegativeBinomial)
        and usable(cells.counts, *model.decoder.parameters())
    ):
        return _by_loops(
            model, cells, [*folded, (model.decoder.scores.weight, model.decoder.scores.bias)]
        )
    return _by_torch(model, cells)


def _by_torch(model: PerturbationVAE, cells: Cells) -> OfParticles:
    decode, log_prob = model.decoder.prepared(), model.likelihood.prepared(cells.counts)
    covariates = model.covariates(cells)
    most = max(1, decoded_at_once(cells.device) // max(1, cells.n_cells * cells.n_genes))

    def of_particles(z: Tensor) -> Tensor:
        parts = z.split(even_parts(len(z), most))
        return torch.cat([log_prob(decode(part, covariates)) for part in parts])

    return of_particles


def even_parts(total: int, most: int) -> list[int]:
    """Parts of `total` of nearly the same size, none larger than `most`."""
    n = math.ceil(total / most)
    return [(total + i) // n for i in range(n)]


@inlined
def _rows(buffer, n, width):  # type: ignore[no-untyped-def]
    return buffer[: n * width].reshape(n, width)


@inlined
def _rectify(x, bias, start):  # type: ignore[no-untyped-def]
    # row i of x with row start + i of bias, over and over
    for i in range(x.shape[0]):
        own = (start + i) % bias.shape[0]
        for j in range(x.shape[1]):
            y = x[i, j] + bias[own, j]
            x[i, j] = _ZERO if y <= _ZERO else y  # NaN stays NaN


@compiled
def _score(z, of_cell, layers, counts, totals, t, at_once, value):  # type: ignore[no-untyped-def]
    # z: (rows, latents), row r of cell r % n; of_cell: bias of the first layer, with covariates, (n, width)
    weights, biases = layers
    n_layers, widest = len(weights), counts.shape[1]
    for k in range(n_layers):
        widest = max(widest, weights[k].shape[0])
    here, there = np.empty(at_once * widest, np.float32), np.empty(at_once * widest, np.float32)
    start = 0
    while start < z.shape[0]:
        n = min(at_once, z.shape[0] - start)
        x = z[start : start + n]
        for k in range(n_layers):
            out = _rows(here, n, weights[k].shape[1])
            np.dot(x, weights[k], out)
            if k == 0:
                _rectify(out, of_cell, start)
            elif k < n_layers - 1:
                _rectify(out, biases[k].reshape(1, -1), 0)
            x = out
            here, there = there, here
        rates_of_rows(counts, totals, x, biases[n_layers - 1], t, start, value)
        start += n


def _by_loops(
    model: PerturbationVAE, cells: Cells, layers: list[tuple[Tensor, Tensor]]
) -> OfParticles:
    covariates = model.covariates(cells)
    log_t = model.likelihood.get_parameter("log_inverse_dispersion")
    with torch.no_grad():
        (first, bias), *others = layers
        of_cell = bias.expand(cells.n_cells, -1)
        if covariates is not None:
            of_cell = torch.addmm(bias, covariates, first[model.n_latents :])
        layers = [(first[: model.n_latents], bias), *others]
        weights, biases = (tuple(arrays(*parts)) for parts in zip(*layers, strict=True))
        counts, totals = arrays(cells.counts, cells.counts.sum(-1))
        t = inverse_dispersion(log_t).numpy()
        of_counts = count_term(cells.counts, log_t)
    at_once = max(1, _FLOATS // max(len(t), weights[-1].shape[0]))
    cell_bias = of_cell.contiguous().numpy()

    def of_particles(z: Tensor) -> Tensor:
        value = z.new_empty(z.shape[:-1])
        flat = z.reshape(-1, z.shape[-1])
        _score(
            flat.numpy(),
            cell_bias,
            (weights, biases),
            counts,
            totals,
            t,
            at_once,
            value.view(-1).numpy(),
        )
        return value.add_(of_counts)

    return of_particles
