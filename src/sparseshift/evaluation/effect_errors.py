"""How far predicted effects are from observed ones, perturbation by perturbation."""

import numpy as np

from sparseshift.evaluation.paired_effects import mean_over_genes, paired_effects


def mae(
    predicted: np.ndarray, observed: np.ndarray, genes: np.ndarray | None = None
) -> np.ndarray:
    """Mean absolute error over genes, in the units of log-normalised profiles.

    Args:
        predicted: effects, (perturbations, genes).
        observed: effects, (perturbations, genes).
        genes: bool, (genes,) or (perturbations, genes); None: all.

    Returns:
        (perturbations,); NaN where there is no gene. cell-eval's `mae_delta`; its `mae` is of
        profiles, and so differs by the difference of the two control means.
    """
    predicted, observed, chosen = paired_effects(predicted, observed, genes)
    return mean_over_genes(np.abs(predicted - observed), chosen)


def mse(
    predicted: np.ndarray, observed: np.ndarray, genes: np.ndarray | None = None
) -> np.ndarray:
    """Mean squared error over genes, in the squared units of log-normalised profiles.

    Args:
        predicted: effects, (perturbations, genes).
        observed: effects, (perturbations, genes).
        genes: bool, (genes,) or (perturbations, genes); None: all.

    Returns:
        (perturbations,); NaN where there is no gene. cell-eval's `mse_delta`.
    """
    predicted, observed, chosen = paired_effects(predicted, observed, genes)
    return mean_over_genes((predicted - observed) ** 2, chosen)
