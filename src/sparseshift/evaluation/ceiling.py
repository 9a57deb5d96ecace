"""Where a score lies between a floor and a ceiling, if the two can be told apart."""

from typing import NamedTuple

import numpy as np

from sparseshift.errors import OptionError
from sparseshift.evaluation.intervals import Interval, stretched

NOT_RESOLVABLE = "not resolvable"


class Gap(NamedTuple):
    """How much better the ceiling is than the floor, over perturbations.

    Attributes:
        value: mean paired difference, positive where the ceiling is better, in the unit of the metric.
        standard_error: of this mean over perturbations; NaN for fewer than two.
        n_perturbations: with all scores defined.
    """

    value: float
    standard_error: float
    n_perturbations: int

    @property
    def resolvable(self) -> bool:
        """Whether the gap exceeds two standard errors, of three perturbations at least."""
        return self.n_perturbations >= 3 and self.value > 2.0 * self.standard_error


class Rescaled(NamedTuple):
    """A score from 0 at the floor to 1 at the ceiling; it may lie outside.

    Attributes:
        gap: between the two.
        score: (model - floor) / (ceiling - floor) with its 95 % interval; NaN if the gap is not resolvable.
    """

    gap: Gap
    score: Interval


def ceiling_gap(
    ceiling: np.ndarray, floor: np.ndarray | float, *, lower_is_better: bool = False
) -> Gap:
    """How much better the ceiling is than the floor, and whether that is more than noise.

    Args:
        ceiling: scores of support means, (perturbations,) or (splits, perturbations).
        floor: scores of the mean effect on the same cells, same shape; or one number, such as the value of chance
            where the mean effect has no score.
        lower_is_better: for errors and distances.

    Returns:
        Repeated splits of a perturbation are averaged first: they share its cells. Undefined scores (NaN) are
        left out in pairs.

    Raises:
        OptionError: shapes that differ.
    """
    return _gap(*_by_perturbation(ceiling, floor), lower_is_better=lower_is_better)


def rescale(
    model: np.ndarray,
    ceiling: np.ndarray,
    floor: np.ndarray | float,
    *,
    lower_is_better: bool = False,
    n_resamples: int,
    seed: int,
) -> Rescaled:
    """The model's score as a share of the gap between floor and ceiling, on the same perturbations.

    Ratio of means over perturbations, which smaller-is-better scores need no other formula for. Where the gap
    does not exceed two standard errors, or the ceiling is the worse of the two, a ratio to it would be
    noise. The interval resamples perturbations, the three scores of each together; equal seeds resample the same
    perturbations for all models with the same scores defined.

    Args:
        model: scores, (perturbations,) or (splits, perturbations).
        ceiling: of support means on the same cells, same shape.
        floor: of the mean effect on the same cells, same shape; or one number.
        lower_is_better: for errors and distances.
        n_resamples: draws.
        seed: of the draws.

    Raises:
        OptionError: shapes that differ.
    """
    scores = _by_perturbation(ceiling, floor, model)
    gap = _gap(*scores[:2], lower_is_better=lower_is_better)
    if not gap.resolvable:
        return Rescaled(gap, Interval(np.nan, np.nan, np.nan))
    drawn = np.random.default_rng(seed).integers(
        scores.shape[1], size=(n_resamples, scores.shape[1])
    )
    values = _position(scores[:, drawn].mean(axis=2))
    # a resample without any gap has no score
    position = float(_position(scores.mean(axis=1)))
    return Rescaled(gap, stretched(position, values, scores.shape[1]))


def _position(means: np.ndarray) -> np.ndarray:
    ceiling, floor, model = means
    gap = ceiling - floor
    return np.divide(model - floor, gap, out=np.full_like(gap, np.nan), where=gap != 0)


def _gap(ceiling: np.ndarray, floor: np.ndarray, *, lower_is_better: bool) -> Gap:
    gains = (floor - ceiling) if lower_is_better else (ceiling - floor)
    n = gains.size
    error = gains.std(ddof=1) / np.sqrt(n) if n > 1 else np.nan
    return Gap(float(gains.mean()) if n else float("nan"), float(error), n)


def _by_perturbation(*scores: np.ndarray | float) -> np.ndarray:
    """Means over splits, (scores, perturbations), of the perturbations with all scores defined in some split."""
    if len(shapes := {np.shape(score) for score in scores if np.ndim(score)}) > 1:
        raise OptionError(
            f"The scores have shapes {' and '.join(map(str, sorted(shapes)))}. Pass those of the same "
            "splits and perturbations in the same order."
        )
    table = np.array(np.broadcast_arrays(*(np.atleast_1d(score) for score in scores)), dtype=float)
    table = table.reshape(len(scores), -1, table.shape[-1])
    defined = np.isfinite(table).all(axis=0)
    n_splits = defined.sum(axis=0)
    total = np.where(defined, table, 0.0).sum(axis=1)
    return total[:, n_splits > 0] / n_splits[n_splits > 0]
