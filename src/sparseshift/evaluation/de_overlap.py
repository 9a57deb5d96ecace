"""Are the genes that a perturbation moves among those predicted to move, and in the right direction?

What is true comes from tests on observed cells, what is predicted from the size of predicted effects alone.
So predictors without cells are scored like all others, and nobody gains by predicting cells that vary too
little, for which every difference is significant.
"""

import numpy as np

from sparseshift.errors import OptionError, require_whole
from sparseshift.evaluation.paired_effects import mean_over_genes, paired_effects


def overlap_at_k(
    predicted: np.ndarray,
    observed: np.ndarray,
    significant: np.ndarray,
    k: int | None = None,
    *,
    genes: np.ndarray | None = None,
) -> np.ndarray:
    """Share of the k genes that truly move most that are among as many predicted to move most.

    Args:
        predicted: effects, (perturbations, genes).
        observed: effects, (perturbations, genes).
        significant: bool, of the observed effects, such as q < .05, (perturbations, genes).
        k: at most so many of the significant genes, those of the largest |observed effect|, the earlier one of
            equals; None: all of them.
        genes: bool, (genes,) or (perturbations, genes); None: all.

    Returns:
        (perturbations,), 0 to 1; NaN where no gene is significant. By chance k / genes. Genes tied for the last
        of the predicted places share them: a constant prediction has the value of chance.

    Raises:
        OptionError: shapes that do not fit, values that are not finite, k below 1.
    """
    predicted, observed, chosen, true = _checked(predicted, observed, significant, genes)
    n = _at_most(k, true.sum(axis=1))
    order = np.argsort(np.where(true, -np.abs(observed), np.inf), axis=1, kind="stable")
    place = np.argsort(order, axis=1)
    both = np.where(place < n[:, None], _places(np.abs(predicted), n, chosen), 0.0).sum(axis=1)
    return np.where(n > 0, both / np.maximum(n, 1), np.nan)


def precision_at_k(
    predicted: np.ndarray,
    observed: np.ndarray,
    significant: np.ndarray,
    k: int | None = None,
    *,
    genes: np.ndarray | None = None,
) -> np.ndarray:
    """Share of the k genes predicted to move most that are significant in the observed cells.

    Args:
        predicted: effects, (perturbations, genes).
        observed: effects, (perturbations, genes).
        significant: bool, of the observed effects, (perturbations, genes).
        k: how many, at most all genes; None: as many as are significant, where it equals `overlap_at_k`.
        genes: bool, (genes,) or (perturbations, genes); None: all.

    Returns:
        (perturbations,), 0 to 1; NaN where no gene is significant. By chance the share of significant genes.

    Raises:
        OptionError: as `overlap_at_k`.
    """
    predicted, observed, chosen, true = _checked(predicted, observed, significant, genes)
    n_true = true.sum(axis=1)
    n = n_true if k is None else _at_most(k, chosen.sum(axis=1))
    hits = np.where(true, _places(np.abs(predicted), n, chosen), 0.0).sum(axis=1)
    return np.where(n_true > 0, hits / np.maximum(n, 1), np.nan)


def direction_agreement(
    predicted: np.ndarray,
    observed: np.ndarray,
    significant: np.ndarray,
    *,
    genes: np.ndarray | None = None,
) -> np.ndarray:
    """Share of the significant genes whose predicted effect has the sign of the observed one.

    Args:
        predicted: effects, (perturbations, genes).
        observed: effects, (perturbations, genes).
        significant: bool, of the observed effects, (perturbations, genes).
        genes: bool, (genes,) or (perturbations, genes); None: all.

    Returns:
        (perturbations,), 0 to 1; NaN where no gene is significant. An effect of exactly 0 counts half: it says
        nothing.

    Raises:
        OptionError: as `overlap_at_k`.
    """
    predicted, observed, _, true = _checked(predicted, observed, significant, genes)
    return mean_over_genes(0.5 + 0.5 * np.sign(predicted) * np.sign(observed), true)


def _places(strength: np.ndarray, n: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """How much of the n largest each gene is, (perturbations, genes): 1, 0, or for ties at the end a share."""
    strength = np.where(chosen, strength, -1.0)
    falling = -np.sort(-strength, axis=1)
    last = np.take_along_axis(falling, np.maximum(n - 1, 0)[:, None], axis=1)
    above, tied = strength > last, strength == last
    left = n - above.sum(axis=1)
    share = above + tied * (left / np.maximum(tied.sum(axis=1), 1))[:, None]
    return np.where(n[:, None] > 0, share, 0.0)


def _at_most(k: int | None, available: np.ndarray) -> np.ndarray:
    return available if k is None else np.minimum(require_whole("k", k, 1), available)


def _checked(
    predicted: np.ndarray,
    observed: np.ndarray,
    significant: np.ndarray,
    genes: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    predicted, observed, chosen = paired_effects(predicted, observed, genes)
    true = np.asarray(significant)
    if true.dtype != np.bool_ or true.shape != observed.shape:
        raise OptionError(
            f"significant has dtype {true.dtype} and shape {true.shape}; expected bool {observed.shape}, "
            "for example q_value < 0.05."
        )
    return predicted, observed, chosen, true & chosen
