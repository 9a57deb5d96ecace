"""Differences between models that were scored on the same cells, or on the same perturbations."""

import numpy as np

from sparseshift.evaluation.intervals import Interval, stretched


def paired_macro_differences(
    values: np.ndarray, groups: np.ndarray, reference: int, *, n_resamples: int, seed: int
) -> list[Interval]:
    """Each model's macro mean less that of one of them, with the same resamples for all.

    Perturbations are resampled, and cells within each. What cells have in common, such as how
    deep they were sequenced, cancels in a difference; so its interval is much narrower than those of the
    two means, and may exclude 0 where they overlap.

    Args:
        values: (cells, models), such as nats.
        groups: (cells,) perturbation of each cell.
        reference: position of the model to subtract.
        n_resamples: of the bootstrap.
        seed: of the resamples.
    """
    order = np.argsort(groups, kind="stable")
    _, start, size = np.unique(groups[order], return_index=True, return_counts=True)
    differences = (values - values[:, [reference]])[order]
    rng = np.random.default_rng(seed)
    draws = np.empty((n_resamples, values.shape[1]))
    for draw in draws:
        chosen = rng.integers(len(size), size=len(size))
        rows = [start[i] + rng.integers(size[i], size=size[i]) for i in chosen]
        draw[:] = _macro(differences[np.concatenate(rows)], size[chosen])
    value = _macro(differences, size)
    return [stretched(float(v), own, len(size)) for v, own in zip(value, draws.T, strict=True)]


def paired_differences(
    values: np.ndarray, reference: int, *, n_resamples: int, seed: int
) -> list[Interval]:
    """Each model's mean over perturbations less that of one of them, perturbations resampled.

    Args:
        values: (perturbations, models); a perturbation that a model or the reference has no value for (NaN)
            is left out of that difference.
        reference: position of the model to subtract.
        n_resamples: of the bootstrap.
        seed: of the resamples.
    """
    differences = values - values[:, [reference]]
    rng = np.random.default_rng(seed)
    chosen = rng.integers(len(values), size=(n_resamples, len(values)))
    known = np.isfinite(differences)
    filled = np.where(known, differences, 0.0)
    with np.errstate(invalid="ignore"):
        draws = filled[chosen].sum(1) / known[chosen].sum(1)
        value = filled.sum(0) / known.sum(0)
    columns = zip(value, draws.T, known.sum(0), strict=True)
    return [stretched(float(v), own, int(n)) for v, own, n in columns]


def _macro(values: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Mean of the means of consecutive groups of these sizes, (models,)."""
    ends = np.cumsum(size)
    return np.mean(np.add.reduceat(values, ends - size) / size[:, None], axis=0)
