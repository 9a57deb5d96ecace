"""Mean shifts of given latents by perturbation, for representations learnt without perturbations.

`least_squares` on arrays, and the unit in which shifts are comparable with those of the VAEs.
"""

import numpy as np
import torch

from sparseshift.models import least_squares


def label_means(latents: np.ndarray, code: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of each label's cells, (labels, latents), and their number, (labels,).

    Args:
        latents: (cells, latents).
        code: label of each cell, (cells,), 0 to labels - 1, each at least once.
    """
    means, size = least_squares.label_means(
        torch.as_tensor(latents, dtype=torch.float64),
        torch.as_tensor(code),
        int(code.max(initial=-1)) + 1,
    )
    return means.numpy(), size.numpy()


def within_deviation(latents: np.ndarray, code: np.ndarray) -> np.ndarray:
    """Pooled standard deviation within labels, (latents,); 1 where a latent does not vary there.

    sqrt(sum of squares around the label's mean / (cells - labels)). The VAEs' priors have this
    deviation fixed at 1, so dividing by it makes shifts comparable with theirs.
    """
    means, size = label_means(latents, code)
    squares = ((latents - means[code]) ** 2).sum(axis=0)
    deviation = np.sqrt(squares / max(1, len(latents) - len(size)))
    varies = deviation > 1e-12 * np.abs(latents).max(axis=0, initial=0.0)
    return np.where(varies, deviation, 1.0)


def least_squares_shifts(means: np.ndarray, size: np.ndarray, design: np.ndarray) -> np.ndarray:
    """The shifts e that minimise sum over cells of |mean of the cell's label - D e|².

    Where the design does not identify them (two perturbations seen only together), the smallest.

    Args:
        means: of each label's cells, less the origin, (labels, latents).
        size: cells of each label, (labels,).
        design: D, (labels, perturbations).

    Returns:
        (perturbations, latents).
    """
    shifts = least_squares.additive_effects(*map(torch.as_tensor, (means, size, design)))
    return shifts.numpy()
