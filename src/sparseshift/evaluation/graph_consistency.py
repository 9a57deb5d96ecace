"""R_con: how well true latents are recovered up to the mixing that their graph leaves open."""

import numpy as np

from sparseshift.errors import OptionError
from sparseshift.evaluation.latent_matching import LatentMatching, paired_latents, unit_columns


def may_mix(true_edges: np.ndarray) -> np.ndarray:
    """Which latents sparsity cannot keep out of which.

    Where every perturbation that targets latent j targets latent i, too, learning i + c j in place of i
    adds no edge. So the true i is then determined only up to j; a latent that is never targeted can in
    this way be mixed into every other.

    Args:
        true_edges: bool, (perturbations, latents).

    Returns:
        bool, (latents, latents): row i, column j, whether j may be mixed into i; true on the diagonal.
    """
    edges = np.asarray(true_edges)
    if edges.dtype != np.bool_ or edges.ndim != 2:
        raise OptionError(
            f"true_edges has dtype {edges.dtype} and shape {edges.shape}; expected bool "
            "(perturbations, latents)."
        )
    without = (~edges).astype(np.int64).T @ edges.astype(np.int64)  # i not targeted, j targeted
    return np.asarray(without == 0)


def graph_consistency(
    true: np.ndarray, learnt: np.ndarray, true_edges: np.ndarray, matching: LatentMatching
) -> float:
    """R_con, mean over true latents of R in a regression on the learnt latents that the graph allows.

    Of true latent i: R = sqrt(R²) of least squares, with an intercept, on its own match and the matches of
    those that may be mixed into it (`may_mix`). Where the graph determines every latent this is the MCC;
    where it does not, MCC asks for more than can be had (Lachapelle and Lacoste-Julien 2022, who search
    for the best permutation of this score; here the matching is that of the MCC). In sample, as R².

    Args:
        true: latents the cells were drawn with, (cells, true latents).
        learnt: latents of the same cells, (cells, learnt latents).
        true_edges: bool, (perturbations, true latents), of the trained perturbations.
        matching: of the same latents, from `match_latents`.

    Returns:
        In [0, 1], at least the MCC.

    Raises:
        OptionError: not the same cells or latents, values that are not finite.
    """
    true, learnt = paired_latents(true, learnt)
    allowed = may_mix(true_edges)
    if len(allowed) != true.shape[1] or len(matching.learnt) != true.shape[1]:
        raise OptionError(
            f"true_edges has {len(allowed)} latents, the matching {len(matching.learnt)} and the cells "
            f"{true.shape[1]}. Pass those of one screen."
        )
    target, regressors = unit_columns(true), unit_columns(learnt)
    found = np.zeros(true.shape[1])
    for i, allowed_in_i in enumerate(allowed):
        columns = matching.learnt[allowed_in_i]
        chosen = regressors[:, columns[columns >= 0]]
        if chosen.shape[1] and target[:, i].any():
            fitted = chosen @ np.linalg.lstsq(chosen, target[:, i], rcond=None)[0]
            found[i] = np.sqrt(np.clip(1.0 - ((target[:, i] - fitted) ** 2).sum(), 0.0, 1.0))
    return float(found.mean())
