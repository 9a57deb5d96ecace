"""The density of a mixture over masks for many particles in one pass, compiled for the CPU by numba."""

import numpy as np
from torch import Tensor

from sparseshift.compiled import arrays, compiled
from sparseshift.probability.elementary import exp, f32, log1p

_ABSENT = f32(
    -1e30
)  # log weight of a component that cannot occur: finite, so that differences are


@compiled
def _log_densities(z, means, log_weights, half_precision, out):  # type: ignore[no-untyped-def]
    n_particles, n_cells = out.shape
    n_components, n_columns = means.shape  # a column is a latent of a cell
    row = np.empty(n_columns, np.float32)
    each = n_columns // n_cells
    for k in range(n_particles):
        for i in range(n_columns):
            distance = z[k, i] - means[0, i]
            row[i] = max(log_weights[0, i], _ABSENT) - half_precision[0, i] * distance * distance
        for c in range(1, n_components):
            for i in range(n_columns):
                distance = z[k, i] - means[c, i]
                other = max(log_weights[c, i], _ABSENT)
                other = other - half_precision[c, i] * distance * distance
                row[i] = max(row[i], other) + log1p(exp(-abs(row[i] - other)))
        for n in range(n_cells):
            total = f32(0.0)
            for j in range(n * each, (n + 1) * each):
                total += row[j]
            out[k, n] = total


def log_densities(z: Tensor, means: Tensor, log_weights: Tensor, half_precision: Tensor) -> Tensor:
    """Log of the sum over components of exp(w - p (z - m)^2), summed over latents, (particles, cells).

    Args:
        z: (particles, cells, latents).
        means: m, (components, cells, latents).
        log_weights: w, (components, cells, latents), -inf where a component cannot occur.
        half_precision: p, (components, cells, latents).
    """
    out = z.new_empty(z.shape[:-1])
    flat = (part.flatten(1) for part in (z, means, log_weights, half_precision))
    _log_densities(*arrays(*flat, out))
    return out
