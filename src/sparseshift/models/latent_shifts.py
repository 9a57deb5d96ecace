"""Mean shifts of given latents by perturbation: least squares on the design, in units of spread.

For representations that were learnt without perturbations. A label's mean is modelled as the sum of
its parts' shifts, as in the additive models (`models.adaptation` does the same with a prior).
"""

import numpy as np


def label_means(latents: np.ndarray, code: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of each label's cells, (labels, latents), and their number, (labels,).

    Args:
        latents: (cells, latents).
        code: label of each cell, (cells,), 0 to labels - 1, each at least once.
    """
    size = np.bincount(code)
    total = np.zeros((len(size), latents.shape[1]))
    np.add.at(total, code, latents)
    return total / size[:, None], size


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
    weight = np.sqrt(size)[:, None]
    return np.linalg.lstsq(weight * design, weight * means, rcond=None)[0]
