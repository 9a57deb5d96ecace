"""Average treatment effects on expression: what a perturbation does to the mean profile."""

import numpy as np


def log_normalise(counts: np.ndarray, target_total: float) -> np.ndarray:
    """log(1 + counts scaled to a common total), (cells, genes)."""
    total = counts.sum(axis=1, keepdims=True)
    # a sampled cell may be empty; it stays a profile of zeros
    return np.log1p(counts * (target_total / np.where(total > 0, total, 1.0)))


def mean_profile(counts: np.ndarray, target_total: float) -> np.ndarray:
    """Mean over cells of `log_normalise`, (genes,)."""
    return log_normalise(counts, target_total).mean(axis=0)


def pearson_r(predicted: np.ndarray, observed: np.ndarray) -> float:
    """Pearson correlation over genes; NaN where either side does not vary."""
    x, y = _centred(predicted), _centred(observed)
    norm = np.linalg.norm(x) * np.linalg.norm(y)
    return float(x @ y / norm) if norm > 0 else float("nan")


def rmse(predicted: np.ndarray, observed: np.ndarray) -> float:
    """Root mean squared difference over genes, in the units of log-normalised profiles."""
    difference = np.asarray(predicted, dtype=np.float64) - observed
    return float(np.sqrt(np.mean(difference**2)))


def _centred(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    centred = values - values.mean()
    # what is left of a constant is rounding, not variation
    constant = np.linalg.norm(centred) <= 1e-12 * np.linalg.norm(values)
    return np.zeros_like(centred) if constant else centred


def effect_variances(profiles: dict[str, np.ndarray], effects: dict[str, np.ndarray]) -> float:
    """Variance of true effects around their mean, averaged over genes, never negative.

    Method of moments: the variance of the observed effects over perturbations, less the mean
    sampling variance of a perturbation's mean profile.

    Args:
        profiles: log-normalised cells of each training perturbation, each (cells, genes).
        effects: their mean profiles less the control's, each (genes,).
    """
    if len(effects) < 2:
        return 0.0
    observed = np.var(list(effects.values()), axis=0, ddof=1)
    sampling = np.mean([sampling_variance(cells) for cells in profiles.values()])
    return max(0.0, float(observed.mean() - sampling))


def mean_square_effect(
    profiles: dict[str, np.ndarray], effects: dict[str, np.ndarray], control: np.ndarray
) -> float:
    """Square of true effects, averaged over perturbations and genes, never negative.

    Method of moments, as `effect_variances`, about no effect instead of the mean one.

    Args:
        profiles: log-normalised cells of each training perturbation, each (cells, genes).
        effects: their mean profiles less the control's, each (genes,).
        control: log-normalised control cells, (cells, genes).
    """
    if not effects:
        return 0.0
    observed = np.mean([np.mean(effect**2) for effect in effects.values()])
    sampling = np.mean([sampling_variance(cells) for cells in profiles.values()])
    return max(0.0, float(observed - sampling - sampling_variance(control)))


def sampling_variance(profiles: np.ndarray) -> float:
    """Variance of the mean of these cells, (cells, genes), averaged over genes."""
    n_cells = len(profiles)
    if n_cells < 2:
        return float("inf")
    return float(profiles.var(axis=0, ddof=1).mean() / n_cells)
