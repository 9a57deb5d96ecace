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
        (perturbations,), -1 to 1; 0 where the prediction has nothing of its own, as for the mean effect itself;
        NaN where the observation has not.
    """
    predicted, observed, chosen = paired_effects(predicted, observed, genes)
    own = _less(predicted, predicted_mean), _less(observed, observed_mean)
    return np.array([_r(p[g], o[g]) for p, o, g in zip(*own, chosen, strict=True)])


def _r(predicted: np.ndarray, observed: np.ndarray) -> float:
    r = pearson_r(predicted, observed)
    return 0.0 if np.isnan(r) and not np.isnan(pearson_r(observed, observed)) else r


def _less(effects: np.ndarray, mean: np.ndarray) -> np.ndarray:
    mean = np.asarray(mean, dtype=np.float64)
    own = effects - mean
    # the mean effect computed in another order differs by rounding, which would correlate with something;
    # effects are differences of profiles of about 1, so that theirs does not shrink with them
    rounding = 1e-12 * (1.0 + np.abs(effects) + np.abs(mean))
    return np.where(np.abs(own) <= rounding, 0.0, own)
