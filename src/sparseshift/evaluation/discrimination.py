"""Are predictions nearer to their own perturbation than to others?"""

from typing import Literal

import numpy as np

from sparseshift.errors import OptionError
from sparseshift.evaluation.paired_effects import paired_effects

Distance = Literal["l1", "l2", "cosine"]


def discrimination(
    predicted: np.ndarray,
    observed: np.ndarray,
    distance: Distance = "l1",
    *,
    genes: np.ndarray | None = None,
    others: np.ndarray | None = None,
) -> np.ndarray:
    """Share of the other perturbations whose observed effect is further from the prediction than its own.

    Ties count half. The perturbation discrimination score of the Virtual Cell Challenge (Roohani et al. 2025)
    but for its scale and ties: cell-eval 0.8.2 has 1 - rank / n of n perturbations, whose worst is 1/n and
    chance (n + 1) / (2 n); this is (n * theirs - 1) / (n - 1). The rank metric of PerturBench (Wu et al. 2024)
    ranks predictions around one observed effect instead.

    Args:
        predicted: effects, (perturbations, genes).
        observed: effects, (perturbations, genes).
        distance: "l1", "l2", or "cosine" (1 - cosine; a zero effect has cosine 0 with all). The first two see the
            size of effects, the last does not.
        genes: bool, (genes,) or (perturbations, genes): over which genes a prediction is compared with all
            observed effects; None: all. Leave out the targets of all perturbations, see `perturbed_genes`.
        others: observed effects of perturbations that are not scored, to tell apart from too, (others, genes).

    Returns:
        (perturbations,), 0 to 1. 1/2 by chance, and on average for a prediction that is the same for all, if
        genes are the same for all and there are no others. NaN if there is nothing to tell apart, or no gene.

    Raises:
        OptionError: shapes that do not fit, values that are not finite, an unknown distance.
    """
    predicted, observed, chosen = paired_effects(predicted, observed, genes)
    known = observed if others is None else np.concatenate([observed, _others(others, observed)])
    if distance not in _DISTANCES:
        raise OptionError(f"distance={distance!r} is not one of {', '.join(_DISTANCES)}.")
    score = np.full(len(predicted), np.nan)
    if len(known) > 1:
        for own in np.flatnonzero(chosen.any(axis=1)):
            g = chosen[own]
            score[own] = _share_further(_DISTANCES[distance](known[:, g], predicted[own, g]), own)
    return score


def centroid_accuracy(
    predicted: np.ndarray,
    observed: np.ndarray,
    *,
    genes: np.ndarray | None = None,
    others: np.ndarray | None = None,
) -> np.ndarray:
    """Share of all other observed centroids that are further from the predicted one than its own.

    Viñas Torné et al. 2025 (Systema): `discrimination` by Euclidean distance, told apart from every observed
    perturbation, the trained ones (`others`) included. Their code counts ties as wrong; here half.

    Args:
        predicted: effects, or mean profiles, (perturbations, genes).
        observed: the same of the observed cells, (perturbations, genes).
        genes: as in `discrimination`.
        others: observed effects or mean profiles of the trained perturbations, (others, genes).

    Returns:
        (perturbations,), 0 to 1, 1/2 by chance.
    """
    return discrimination(predicted, observed, "l2", genes=genes, others=others)


def _share_further(distances: np.ndarray, own: np.intp) -> float:
    difference = np.delete(distances, own) - distances[own]
    # sums in another order differ by rounding
    tied = np.abs(difference) <= 1e-12 * distances.max()
    return float(np.where(tied, 0.5, difference > 0).mean())


def _l1(known: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    return np.abs(known - prediction).sum(axis=1)


def _l2(known: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    return np.linalg.norm(known - prediction, axis=1)


def _cosine(known: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    norm = np.linalg.norm(known, axis=1) * np.linalg.norm(prediction)
    return 1.0 - np.divide(known @ prediction, norm, out=np.zeros(len(known)), where=norm > 0)


_DISTANCES = {"l1": _l1, "l2": _l2, "cosine": _cosine}


def _others(others: np.ndarray, observed: np.ndarray) -> np.ndarray:
    others = np.asarray(others, dtype=np.float64)
    if others.ndim != 2 or others.shape[1] != observed.shape[1] or not np.isfinite(others).all():
        raise OptionError(
            f"others has shape {others.shape}; expected finite values, (others, {observed.shape[1]})."
        )
    return others
