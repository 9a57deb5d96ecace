"""Simulated screens with known latents and known targets, as arrays.

`paper` is the simulator of the code behind Lopez et al. 2023, which differs from its
text: targets are drawn with replacement, and expression is normalised over the cells of each
gene, so that all genes have the same mean and a cell's total depends on the other cells.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sparseshift.errors import OptionError

_SLOPE = 0.2  # of the leaky ReLU
_WIDTH = 40
_N_HIDDEN = 3
_DEPTH = 1e6  # counts a gene, over all cells


@dataclass(frozen=True)
class Simulation:
    """A simulated screen and its truth.

    Attributes:
        counts: (cells, genes) int32.
        latents: true z, (cells, latents) float32.
        perturbation: code of each cell, (cells,); -1 for control cells.
        shifts: true mean of z, (perturbations, latents) float32, zero where not a target.
    """

    counts: np.ndarray
    latents: np.ndarray
    perturbation: np.ndarray
    shifts: np.ndarray


def paper(
    rng: np.random.Generator,
    *,
    n_perturbations: int = 100,
    n_cells_per_perturbation: int = 250,
    n_control_cells: int = 0,
    n_latents: int = 15,
    n_genes: int = 100,
) -> Simulation:
    """The simulator of the paper's code: 1 to 3 targets each, shifts of +-Normal(5, .5).

    Args:
        rng: draws everything.
        n_perturbations: single perturbations.
        n_cells_per_perturbation: cells of each (the paper has 500, its demo 250).
        n_control_cells: unperturbed cells, z ~ N(0, I); the paper has none.
        n_latents: latents.
        n_genes: genes.

    Raises:
        OptionError: a size is not positive.
    """
    sizes = {
        "n_perturbations": n_perturbations,
        "n_cells_per_perturbation": n_cells_per_perturbation,
        "n_latents": n_latents,
        "n_genes": n_genes,
    }
    for name, size in sizes.items():
        if size < 1:
            raise OptionError(f"simulate: {name}={size} must be at least 1.")
    if n_control_cells < 0:
        raise OptionError(f"simulate: n_control_cells={n_control_cells} must not be negative.")
    shifts = _sparse_shifts(rng, n_perturbations, n_latents)
    perturbation = np.repeat(np.arange(n_perturbations), n_cells_per_perturbation)
    perturbation = np.concatenate([np.full(n_control_cells, -1), perturbation])
    mean = np.concatenate(
        [np.zeros((n_control_cells, n_latents)), shifts[perturbation[n_control_cells:]]]
    )
    latents = mean + rng.standard_normal(mean.shape)
    logits = _random_decoder(rng, n_latents, n_genes)(latents)
    if logits.std() == 0:
        raise OptionError("simulate: one cell and one gene do not vary. Ask for more of either.")
    expression = np.exp(logits / logits.std())
    counts = rng.poisson(_DEPTH * expression / expression.sum(axis=0))
    return Simulation(
        counts.astype(np.int32),
        latents.astype(np.float32),
        perturbation,
        shifts.astype(np.float32),
    )


def _sparse_shifts(rng: np.random.Generator, n_perturbations: int, n_latents: int) -> np.ndarray:
    shifts = np.zeros((n_perturbations, n_latents))
    for row in shifts:
        # with replacement, as the published code: two draws may hit the same latent
        targets = np.unique(rng.integers(n_latents, size=rng.integers(1, 4)))
        sign = rng.choice([-1.0, 1.0], size=len(targets))
        row[targets] = sign * rng.normal(5.0, 0.5, size=len(targets))
    return shifts


class _RandomDecoder:
    """Three hidden layers of width 40 with scaled orthogonal weights, leaky ReLU, linear output."""

    def __init__(self, weights: list[np.ndarray]) -> None:
        self.weights = weights

    def __call__(self, z: np.ndarray) -> np.ndarray:
        for weight in self.weights[:-1]:
            z = z @ weight
            z = np.where(z > 0, z, _SLOPE * z)
        return z @ self.weights[-1]


def _random_decoder(rng: np.random.Generator, n_in: int, n_out: int) -> _RandomDecoder:
    widths = [n_in, *[_WIDTH] * _N_HIDDEN, n_out]
    gain = np.sqrt(2.0 / (1.0 + _SLOPE**2))
    return _RandomDecoder(
        [
            gain * np.sqrt(2.0 / (fan_in + fan_out)) * _orthogonal(rng, fan_in, fan_out)
            for fan_in, fan_out in pairwise(widths)
        ]
    )


def _orthogonal(rng: np.random.Generator, fan_in: int, fan_out: int) -> np.ndarray:
    tall = rng.standard_normal((max(fan_in, fan_out), min(fan_in, fan_out)))
    q, _ = np.linalg.qr(tall)
    return q if fan_in >= fan_out else q.T
