"""Is what is special to a perturbation predicted? Pearson r against the perturbed mean."""

import numpy as np

from sparseshift.evaluation.average_effects import pearson_r
from sparseshift.evaluation.paired_effects import paired_effects


def delta_against_mean(
    predicted: np.ndarray,
    observed: np.ndarray,
    predicted_mean: np.ndarray,
    observed_mean: np.ndarray,
    genes: np.ndarray | None = None,
) -> np.ndarray:
    """Pearson r over genes once the mean effect of the training perturbations is taken from both.

    Most perturbations share a part of their effect (stress, growth, how perturbed cells were chosen).
    Any prediction that contains it correlates with any observation; what is left here is what sets a
    perturbation apart. The reference of Viñas Torné et al. 2025 (Systema, Nature Biotechnology): the
    mean of the training perturbations' centroids, each counting once. They subtract it from profiles;
    from effects that is the same if each side takes the mean effect from its own control half, so that
    the control cancels on both.

    The sampling error of the reference is on both sides: of n training perturbations with independent
    effects, an unrelated prediction has r of about 1 / (n + 1), not 0.

    Args:
        predicted: effects from control half A, (perturbations, genes).
        observed: effects from control half B, (perturbations, genes).
        predicted_mean: mean effect of the training perturbations from control half A, (genes,).
        observed_mean: the same from control half B, (genes,).
        genes: bool, (genes,) or (perturbations, genes); None: all.

    Returns:
        (perturbations,), -1 to 1; NaN where either side does not vary, as for a prediction of the mean
        effect itself. It says nothing specific: count it 0 where it is the floor.
    """
    predicted, observed, chosen = paired_effects(predicted, observed, genes)
    own = _less(predicted, predicted_mean), _less(observed, observed_mean)
    return np.array([pearson_r(p[g], o[g]) for p, o, g in zip(*own, chosen, strict=True)])


def _less(effects: np.ndarray, mean: np.ndarray) -> np.ndarray:
    mean = np.asarray(mean, dtype=np.float64)
    own = effects - mean
    # the mean effect computed in another order differs by rounding, which would correlate with something
    rounding = 1e-12 * (np.abs(effects) + np.abs(mean))
    return np.where(np.abs(own) <= rounding, 0.0, own)
