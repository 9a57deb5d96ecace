"""The random network that turns latents into log expression (the code of Lopez et al. 2023)."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from sparseshift.errors import OptionError

_SLOPE = 0.2  # of the leaky ReLU
_WIDTH = 40
_N_HIDDEN = 3
_AT_ONCE = 10_000  # cells


class RandomDecoder:
    """Three hidden layers of width 40 with scaled orthogonal weights, leaky ReLU, linear output.

    Args:
        rng: draws the weights.
        n_latents: width of the input.
        n_genes: width of the output.
    """

    def __init__(self, rng: np.random.Generator, n_latents: int, n_genes: int) -> None:
        widths = [n_latents, *[_WIDTH] * _N_HIDDEN, n_genes]
        gain = np.sqrt(2.0 / (1.0 + _SLOPE**2))
        self.weights = [
            gain * np.sqrt(2.0 / (fan_in + fan_out)) * _orthogonal(rng, fan_in, fan_out)
            for fan_in, fan_out in pairwise(widths)
        ]

    def __call__(self, z: np.ndarray) -> np.ndarray:
        """Latents (cells, latents) to (cells, genes)."""
        for weight in self.weights[:-1]:
            z = z @ weight
            z = np.where(z > 0, z, _SLOPE * z)
        return z @ self.weights[-1]

    def spread(self, z: np.ndarray) -> float:
        """Standard deviation of the output over all cells and genes.

        Raises:
            OptionError: there is none, as for one cell and one gene.
        """
        n = total = squares = 0.0
        for _, output in self.in_parts(z):
            n, total, squares = n + output.size, total + output.sum(), squares + (output**2).sum()
        variance = squares / n - (total / n) ** 2
        if variance <= 1e-12 * squares / n:
            raise OptionError(
                "simulate: one cell and one gene do not vary. Ask for more of either."
            )
        return float(np.sqrt(variance))

    def in_parts(self, z: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """Cells and their output, few at a time."""
        for first in range(0, len(z), _AT_ONCE):
            cells = slice(first, first + _AT_ONCE)
            yield cells, self(z[cells])


def _orthogonal(rng: np.random.Generator, fan_in: int, fan_out: int) -> np.ndarray:
    tall = rng.standard_normal((max(fan_in, fan_out), min(fan_in, fan_out)))
    q, _ = np.linalg.qr(tall)
    return q if fan_in >= fan_out else q.T
