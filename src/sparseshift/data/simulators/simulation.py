"""What every simulator draws: counts, and the truth behind them."""

from dataclasses import dataclass

import numpy as np

from sparseshift.errors import OptionError


@dataclass(frozen=True)
class Simulation:
    """A simulated screen and its truth.

    Attributes:
        counts: (cells, genes) int32.
        latents: true z, (cells, latents) float32.
        perturbation: code of each cell, (cells,); -1 for control cells.
        partner: code of the second perturbation, (cells,); -1 for all but combinations.
        batch: code of each cell, (cells,).
        perturbed: whether z was shifted, (cells,); not in cells whose guide did nothing.
        shifts: true mean of z, (perturbations, latents) float32, zero where not a target.
    """

    counts: np.ndarray
    latents: np.ndarray
    perturbation: np.ndarray
    partner: np.ndarray
    batch: np.ndarray
    perturbed: np.ndarray
    shifts: np.ndarray


def check_sizes(*, at_least_one: dict[str, int], not_negative: dict[str, int]) -> None:
    """Whether a screen can have these sizes.

    Raises:
        OptionError: it cannot; the message names the size.
    """
    for name, size in at_least_one.items():
        if size < 1:
            raise OptionError(f"simulate: {name}={size} must be at least 1.")
    for name, size in not_negative.items():
        if size < 0:
            raise OptionError(f"simulate: {name}={size} must not be negative.")
