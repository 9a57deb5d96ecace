"""n-shot curves of predicted effects: models beside the mean of the same support cells."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
from anndata import AnnData

from sparseshift.data.nested_supports import NestedSupports
from sparseshift.data.splits import Split
from sparseshift.evaluation.average_effects import (
    effect_variances,
    mean_square_effect,
    pearson_r,
    rmse,
    sampling_variance,
)
from sparseshift.evaluation.delta_against_mean import delta_against_mean
from sparseshift.evaluation.intervals import Interval
from sparseshift.fitted_factors import FittedFactors
from sparseshift.models.baselines import mean_effect, no_change, shrunk_effect
from sparseshift.models.priors import StandardNormalPrior
from sparseshift.scoring.baselines import training_profiles
from sparseshift.scoring.cells import Model, with_model_counts
from sparseshift.scoring.effects import ObservedEffects
from sparseshift.scoring.n_shot import NShotSettings, adapts_in_closed_form, curve, why_no_curve
from sparseshift.scoring.predictions import sampled_profiles
from sparseshift.scoring.settings import ScoreSettings
from sparseshift.scoring.tidy import RunKey
from sparseshift.screens.cells import read_perturbations
from sparseshift.screens.columns import Columns

METRICS = {"ate_pearson_r": True, "ate_delta_r": True, "ate_rmse": False}  # is higher better?
BASELINES = (
    "no_change",
    "mean_effect",
    "support_mean",
    "support_mean_shrunk",
    "support_mean_to_control",
)
SAMPLED_CELLS = 500  # of a perturbation for each support, on average; no more are drawn


class _Curves:
    """Scores of predicted effects as they come in, by size, draw and perturbation.

    Args:
        observed: of the split whose supports these are.
        control: the control's label.
        supports: nested.
        n_draws: of each size.
    """

    def __init__(
        self,
        observed: ObservedEffects,
        control: str | None,
        supports: NestedSupports,
        n_draws: int,
    ) -> None:
        self.observed, self.supports = observed, supports
        self.labels = np.array(list(supports.query), dtype=str)
        starts = (observed.split.control_a, observed.split.control_b)
        self.start, other = (observed.profile(observed.rows(start)) for start in starts)
        self.trained = training_profiles(observed, control)
        self.effects = {label: own.mean(0) - self.start for label, own in self.trained.items()}
        average = mean_effect(self.effects)
        self.mean_effects = average, average + self.start - other  # from either control half
        self.scores = np.full(
            (len(METRICS), len(supports.sizes), n_draws, len(self.labels)), np.nan
        )

    def take(self, size: int, draw: int, label: str, effect: np.ndarray) -> None:
        """Scores the effect predicted of one perturbation, (genes,)."""
        truth = self.observed.effects[label]
        found = (
            pearson_r(effect, truth),
            delta_against_mean(effect[None], truth[None], *self.mean_effects)[0],
            rmse(effect, truth),
        )
        place = self.supports.sizes.index(size), draw, self.labels.tolist().index(label)
        self.scores[(slice(None), *place)] = found

    def rows(self, key: RunKey, settings: ScoreSettings) -> pd.DataFrame:
        """Rows of `n_shot.curve`, and the mean over draws of each perturbation, subset "n_shot_N, NAME".

        A metric that is not defined for some perturbation has none.
        """
        frames = []
        for (metric, higher), scores in zip(METRICS.items(), self.scores, strict=True):
            possible = [
                scores[i][:, np.isin(self.labels, self.supports.possible(size))]
                for i, size in enumerate(self.supports.sizes)
            ]
            if all(np.isfinite(part).all() for part in possible):
                frames.append(
                    curve(
                        scores,
                        self.labels,
                        self.supports,
                        key,
                        settings,
                        metric,
                        higher_is_better=higher,
                    )
                )
                frames.append(key.rows(self._by_perturbation(metric, scores)))
        return pd.concat(frames, ignore_index=True) if frames else key.rows([])

    def _by_perturbation(self, metric: str, scores: np.ndarray) -> list[tuple[str, str, Interval]]:
        means = dict(zip(self.supports.sizes, scores.mean(axis=1), strict=True))
        return [
            (metric, f"n_shot_{size}, {label}", Interval(float(own[i]), np.nan, np.nan))
            for size, own in means.items()
            for i, label in enumerate(self.labels.tolist())
            if label in self.supports.possible(size)
        ]


def score_n_shot_baselines(
    screen: AnnData,
    columns: Columns,
    split: Split,
    genes: tuple[str, ...],
    supports: NestedSupports,
    screen_name: str,
    settings: ScoreSettings,
) -> pd.DataFrame:
    """Rows of `n_shot.curve` for no effect, the mean effect and the support mean, raw and shrunk to either.

    Args:
        screen: all cells.
        columns: of the screen.
        split: whose held-out perturbations they are.
        genes: that models see.
        supports: of `n_shot.nested_supports`.
        screen_name: of the rows.
        settings: resamples and seed.
    """
    empty = RunKey(screen_name, "support_mean", split.name, None).rows([])
    if not supports.query or not split.control_a:
        return empty
    observed = ObservedEffects(screen, columns, split, genes)
    curves = {
        name: _Curves(observed, columns.control, supports, supports.n_draws) for name in BASELINES
    }
    known = curves["support_mean"]
    average, between = known.mean_effects[0], effect_variances(known.trained, known.effects)
    control = observed.profiles[observed.rows(split.control_a)]
    of_control, nothing = sampling_variance(control), no_change(len(average))
    square = mean_square_effect(known.trained, known.effects, control)
    for size, draw, label in _supports(supports, supports.n_draws):
        names = tuple(supports.order[label][draw, :size].tolist())
        own = observed.profiles[observed.rows(names)]
        seen, noise = own.mean(0) - known.start, sampling_variance(own) + of_control
        found = (
            nothing,
            average,
            seen,
            shrunk_effect(seen, average, between, noise),
            shrunk_effect(seen, nothing, square, noise),
        )
        for name, effect in zip(BASELINES, found, strict=True):
            curves[name].take(size, draw, label, effect)
    frames = [
        own.rows(RunKey(screen_name, name, split.name, None), settings)
        for name, own in curves.items()
    ]
    return pd.concat(frames, ignore_index=True)


def score_n_shot_effects(
    model: Model,
    screen: AnnData,
    split: Split,
    supports: NestedSupports,
    key: RunKey,
    settings: ScoreSettings,
    n_shot: NShotSettings,
) -> pd.DataFrame:
    """Rows of `n_shot.curve` for the effects that a model predicts after adapting to n cells.

    Effects of sampled cells, as for the other tables: mean profile of cells with totals and batches of the
    query cells less that of control half A.

    Args:
        model: before it is adapted.
        screen: all cells.
        split: whose held-out perturbations they are.
        supports: of `n_shot.nested_supports` with the model's genes.
        key: of the rows.
        settings: resamples and seed.
        n_shot: draws for models without a closed form.
    """
    if (
        not supports.query
        or not split.control_a
        or isinstance(model, FittedFactors)
        or why_no_curve(model, n_shot)
    ):
        return key.rows([])
    columns = model.spec.columns
    observed = ObservedEffects(screen, columns, split, model.spec.genes)
    n_draws = supports.n_draws
    if isinstance(model.module.prior, StandardNormalPrior):
        n_draws = 1  # it adapts nothing
    elif not adapts_in_closed_form(model):
        n_draws = min(n_draws, n_shot.gradient_draws)
    curves = _Curves(observed, columns.control, supports, n_draws)
    total = observed.target_total
    control = with_model_counts(screen[list(split.control_a)], model)
    start = sampled_profiles(model, control, total, settings)[0].mean(0)
    query = with_model_counts(screen[supports.query_cells], model)
    labels = read_perturbations(query, columns)
    enough = -(-SAMPLED_CELLS * len(supports.query) // query.n_obs)
    of_query = replace(settings, n_draws=min(enough, settings.n_draws))
    for size in supports.sizes:
        of_size = np.isin(labels, supports.possible(size))
        for draw in range(n_draws):
            adapted = model.adapt(screen[supports.support(size, draw)])
            cells, names = query[of_size], labels[of_size]
            profiles = sampled_profiles(adapted, cells, total, of_query)[0]
            for label in np.unique(names).tolist():
                curves.take(size, draw, label, profiles[names == label].mean(0) - start)
    return curves.rows(key, settings)


def _supports(supports: NestedSupports, n_draws: int) -> Iterator[tuple[int, int, str]]:
    for size in supports.sizes:
        for draw in range(n_draws):
            for label in supports.possible(size):
                yield size, draw, label
