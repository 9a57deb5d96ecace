"""What can be said of a perturbation's effect without a model, from training cells or from its support cells."""

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np

from sparseshift.data.design import Design, parts
from sparseshift.evaluation.average_effects import (
    effect_variances,
    mean_square_effect,
    sampling_variance,
)
from sparseshift.models.baselines import (
    additive_effect,
    matching_effect,
    mean_effect,
    no_change,
    shrunk_effect,
)
from sparseshift.models.low_rank_effects import LowRankEffects, fit_low_rank_effects
from sparseshift.models.ridge_effects import choose_penalty, ridge_effects
from sparseshift.scoring.effects import ObservedEffects

SEE_SUPPORT = ("support_mean", "support_mean_shrunk", "support_mean_to_control")
BASELINES = (
    "no_change",
    "mean_effect",
    "additive",
    "ridge",
    "low_rank_linear",
    "matching_mean",
    *SEE_SUPPORT,
)

Effects = dict[str, np.ndarray]


class SimplePredictors:
    """The predictors of effects from control half A that every model must beat, fitted to training cells.

    no_change: the control mean. mean_effect: the mean effect of the training perturbations. additive: the sum of the
    parts' effects for a combination whose parts were all trained alone, else mean_effect. ridge: the sum of the
    parts' ridge coefficients if any part was trained, else mean_effect. low_rank_linear: from the
    embedding of the perturbed genes if all are measured, else mean_effect. matching_mean: the mean of the
    parts' effects, mean_effect for parts that were not trained alone. support_mean: the effect in the
    support cells, which models adapt to. support_mean_shrunk, support_mean_to_control: the same, shrunk to the
    mean effect or to no effect by empirical Bayes.

    Args:
        observed: of a split.
        control: the control's label.

    Attributes:
        start: mean profile of control half A, (genes,).
        mean_effect: of the training perturbations, (genes,).
    """

    def __init__(self, observed: ObservedEffects, control: str | None) -> None:
        self._observed, self._control = observed, control
        reference = observed.rows(observed.split.control_a)
        self.start = observed.profile(reference)
        cells = _training_rows(observed, control)
        self._effects = {t: observed.profile(rows) - self.start for t, rows in cells.items()}
        self.mean_effect = mean_effect(self._effects)
        self._cells, self._reference = cells, reference
        self._nothing = no_change(len(self.start))

    # what only some predictors need is computed when the first of them is asked

    @cached_property
    def _ridge(self) -> Effects:
        return _ridge(tuple(self._observed.effects), self._effects, self._control)

    @cached_property
    def _low_rank(self) -> LowRankEffects | None:
        return fit_low_rank_effects(self.start, self._effects, self._observed.symbols)

    @cached_property
    def _variances(self) -> tuple[float, float, float]:
        """Of true effects about their mean and about none, and of the control's mean."""
        profiles = {t: self._observed.profiles[rows] for t, rows in self._cells.items()}
        control = self._observed.profiles[self._reference]
        return (
            effect_variances(profiles, self._effects),
            mean_square_effect(profiles, self._effects, control),
            sampling_variance(control),
        )

    def without_support(self, label: str) -> Effects:
        """What is predicted of a label that none of its cells was seen of, each (genes,).

        Args:
            label: of the observed effects.
        """
        low_rank = None if self._low_rank is None else self._low_rank.predict(label)
        found = {
            "no_change": self._nothing,
            "mean_effect": self.mean_effect,
            "additive": additive_effect(parts(label), self._effects),
            "ridge": self._ridge.get(label),
            "low_rank_linear": low_rank,
            "matching_mean": matching_effect(parts(label), self._effects, self.mean_effect),
        }
        return {k: self.mean_effect if effect is None else effect for k, effect in found.items()}

    def from_support(self, rows: np.ndarray) -> Effects:
        """What is predicted from some support cells of a perturbation, each (genes,).

        Args:
            rows: of the cells.
        """
        seen = self._observed.profile(rows) - self.start
        noise = sampling_variance(self._observed.profiles[rows])
        between, square, of_control = self._variances
        return {
            "support_mean": seen,
            # the control's noise is in the mean effect too, and cancels between the two
            "support_mean_shrunk": shrunk_effect(seen, self.mean_effect, between, noise),
            "support_mean_to_control": shrunk_effect(
                seen, self._nothing, square, noise + of_control
            ),
        }


def baseline_effects(observed: ObservedEffects, control: str | None) -> dict[str, Effects]:
    """For each of `BASELINES` the predicted effect of each scored perturbation, (genes,)."""
    simple = SimplePredictors(observed, control)
    by_label = {
        label: simple.without_support(label) | simple.from_support(support_rows(observed, label))
        for label in observed.effects
    }
    return {name: {label: own[name] for label, own in by_label.items()} for name in BASELINES}


def support_rows(observed: ObservedEffects, label: str) -> np.ndarray:
    """Rows of a label's support cells; random cells are held out of trained ones, whose others these are."""
    rows = observed.rows(observed.split.support)
    own = rows[observed.labels[rows] == label]
    trained = observed.is_training & observed.counted & (observed.labels == label)
    return own if len(own) else np.flatnonzero(trained)


def support_effects(observed: ObservedEffects) -> Effects:
    """Effects in the cells that models adapt to, or were trained on, from control half A, (genes,)."""
    start = observed.profile(observed.rows(observed.split.control_a))
    return {n: observed.profile(support_rows(observed, n)) - start for n in observed.effects}


def _training_rows(observed: ObservedEffects, control: str | None) -> dict[str, np.ndarray]:
    """Rows of the training cells of each training perturbation."""
    training = observed.is_training & observed.counted
    trained: Sequence[str] = sorted(set(observed.labels[training].tolist()) - {control})
    return {t: np.flatnonzero(training & (observed.labels == t)) for t in trained}


def _ridge(
    scored: tuple[str, ...], effects: Mapping[str, np.ndarray], control: str | None
) -> Effects:
    """Ridge predictions of the scored labels of which some part was trained."""
    design = Design.of_labels([*effects, *scored], control, additive=True)
    training = design.matrix(list(effects)).astype(float)
    observed = np.array(list(effects.values()), dtype=float)
    by_part = ridge_effects(training, observed, choose_penalty(training, observed))
    is_trained = training.any(axis=0)
    rows = dict(zip(scored, design.matrix(scored), strict=True))
    return {label: row @ by_part for label, row in rows.items() if row[is_trained].any()}
