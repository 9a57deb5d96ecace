"""Predicted and observed effects side by side, and the genes that a score of each pair is over."""

import numpy as np

from sparseshift.errors import OptionError


def paired_effects(
    predicted: np.ndarray, observed: np.ndarray, genes: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both in float64, if they can be compared, and which genes of each perturbation count.

    Args:
        predicted: effects on mean log-normalised profiles, (perturbations, genes).
        observed: those of the same perturbations and genes.
        genes: bool, (genes,) for all perturbations or (perturbations, genes); None: all.

    Returns:
        predicted, observed and the genes as bool, each (perturbations, genes).

    Raises:
        OptionError: shapes that do not fit, values that are not finite, genes that are not bool.
    """
    predicted, observed = _finite("predicted", predicted), _finite("observed", observed)
    if predicted.shape != observed.shape:
        raise OptionError(
            f"The predicted effects have shape {predicted.shape} and the observed ones "
            f"{observed.shape}. Pass the same perturbations and genes in the same order."
        )
    if genes is None:
        return predicted, observed, np.ones(predicted.shape, dtype=bool)
    chosen = np.asarray(genes)
    if chosen.dtype != np.bool_ or chosen.shape not in {predicted.shape, predicted.shape[1:]}:
        raise OptionError(
            f"genes has dtype {chosen.dtype} and shape {chosen.shape}; expected bool "
            f"{predicted.shape[1:]} or {predicted.shape}."
        )
    return predicted, observed, np.broadcast_to(chosen, predicted.shape)


def mean_over_genes(values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Mean of (perturbations, genes) over the chosen genes, (perturbations,); NaN where there are none."""
    n_genes = chosen.sum(axis=1)
    total = np.where(chosen, values, 0.0).sum(axis=1)
    return np.where(n_genes > 0, total / np.maximum(n_genes, 1), np.nan)


def _finite(name: str, effects: np.ndarray) -> np.ndarray:
    effects = np.asarray(effects, dtype=np.float64)
    if effects.ndim != 2:
        raise OptionError(
            f"The {name} effects have shape {effects.shape}; expected (perturbations, genes)."
        )
    if bad := int((~np.isfinite(effects)).any(axis=1).sum()):
        raise OptionError(
            f"The {name} effects of {bad} of {len(effects)} perturbations are not finite. "
            "Leave these perturbations out."
        )
    return effects
