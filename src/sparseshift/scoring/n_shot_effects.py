"""n-shot curves of predicted effects: models beside simple predictors from the same cells."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from anndata import AnnData

from sparseshift.data.nested_supports import NestedSupports
from sparseshift.data.splits import Split
from sparseshift.evaluation.intervals import Interval
from sparseshift.fitted_factors import FittedFactors
from sparseshift.models.priors import StandardNormalPrior
from sparseshift.scoring.cells import Model, with_model_counts
from sparseshift.scoring.effects import ObservedEffects
from sparseshift.scoring.n_shot import NShotSettings, curve, why_no_curve
from sparseshift.scoring.prediction_scores import main_scores
from sparseshift.scoring.predictions import sampled_profiles
from sparseshift.scoring.settings import ScoreSettings
from sparseshift.scoring.simple_predictors import BASELINES, SimplePredictors
from sparseshift.scoring.tidy import RunKey
from sparseshift.screens.cells import read_perturbations
from sparseshift.screens.columns import Columns

METRICS = {"ate_pearson_r": True, "ate_delta_r": True, "ate_rmse": False}  # is higher better?
SAMPLED_CELLS = 500  # of a perturbation for each support, on average; no more are drawn


class _Curves:
    """Scores of predicted effects as they come in, by size, draw and perturbation.

    Args:
        halves: what is observed, with the control halved in one way each; scores are averaged over them.
        simple: predictors of each half, whose mean effect effects are held against.
        supports: nested.
        n_draws: of each size.
    """

    def __init__(
        self,
        halves: Sequence[ObservedEffects],
        simple: Sequence[SimplePredictors],
        supports: NestedSupports,
        n_draws: int,
    ) -> None:
        self.halves, self.supports = halves, supports
        self.labels = np.array(list(supports.query), dtype=str)
        self.mean_effects = [  # from either control half
            (own.mean_effect, own.mean_effect + own.start - half.reference)
            for half, own in zip(halves, simple, strict=True)
        ]
        self.scores = np.full(
            (len(METRICS), len(supports.sizes), n_draws, len(self.labels)), np.nan
        )

    def take(self, size: int, draw: int, label: str, effects: Sequence[np.ndarray]) -> None:
        """Scores the effect predicted of one perturbation from control half A of each halving, (genes,)."""
        found = [
            main_scores(effect, half.effects[label], means)
            for half, effect, means in zip(self.halves, effects, self.mean_effects, strict=True)
        ]
        place = self.supports.sizes.index(size), draw, self.labels.tolist().index(label)
        self.scores[(slice(None), *place)] = np.mean(found, axis=0)

    def rows(
        self, key: RunKey, settings: ScoreSettings, draws: Sequence[int | None] = (None,)
    ) -> pd.DataFrame:
        """Rows of `n_shot.curve`, and means over draws of each perturbation.

        Their subset is "n_shot_N, NAME", and "n_shot_N, NAME, first D draws" where only those are meant. A metric
        that is not defined for some perturbation has no row.

        Args:
            key: of the rows.
            settings: resamples and seed.
            draws: how many of them to take the means of perturbations over; None: all that the supports have.
        """
        frames = []
        for (metric, higher), scores in zip(METRICS.items(), self.scores, strict=True):
            possible = [
                scores[i][:, np.isin(self.labels, self.supports.possible(size))]
                for i, size in enumerate(self.supports.sizes)
            ]
            if all(np.isfinite(part).all() for part in possible):
                whole = curve(
                    scores,
                    self.labels,
                    self.supports,
                    key,
                    settings,
                    metric,
                    higher_is_better=higher,
                )
                rows = [row for n in draws for row in self._by_perturbation(metric, scores, n)]
                frames += [whole, key.rows(rows)]
        return pd.concat(frames, ignore_index=True) if frames else key.rows([])

    def _by_perturbation(
        self, metric: str, scores: np.ndarray, n_draws: int | None
    ) -> list[tuple[str, str, Interval]]:
        which = "" if n_draws is None else f", first {n_draws} draws"
        means = dict(zip(self.supports.sizes, scores[:, :n_draws].mean(axis=1), strict=True))
        return [
            (metric, f"n_shot_{size}, {label}{which}", Interval(float(own[i]), np.nan, np.nan))
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
    n_shot: NShotSettings,
) -> pd.DataFrame:
    """Rows of `n_shot.curve` for all predictors without a model; of those without support it is flat.

    Args:
        screen: all cells.
        columns: of the screen.
        split: whose held-out perturbations they are.
        genes: that models see.
        supports: of `n_shot.nested_supports`.
        screen_name: of the rows.
        settings: resamples, control halves and seed.
        n_shot: draws for models without a closed form, over which there are means of perturbations too.
    """
    empty = RunKey(screen_name, "support_mean", split.name, None).rows([])
    if not supports.query or not split.control_a:
        return empty
    observed = ObservedEffects(screen, columns, split, genes)
    halves, simple = _halves(observed, columns.control, settings)
    known = {label: [own.without_support(label) for own in simple] for label in supports.query}
    curves = {name: _Curves(halves, simple, supports, supports.n_draws) for name in BASELINES}
    for size, draw, label in _supports(supports, supports.n_draws):
        support = observed.rows(tuple(supports.order[label][draw, :size].tolist()))
        found = [
            of_label | predictors.from_support(support)
            for of_label, predictors in zip(known[label], simple, strict=True)
        ]
        for name, own in curves.items():
            own.take(size, draw, label, [effects[name] for effects in found])
    draws = [None, n_shot.gradient_draws] if n_shot.takes_fewer else [None]
    frames = [
        own.rows(RunKey(screen_name, name, split.name, None), settings, draws)
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
    query cells less that of control half A, over repeated halvings of the control.

    Args:
        model: before it is adapted.
        screen: all cells.
        split: whose held-out perturbations they are.
        supports: of `n_shot.nested_supports` with the model's genes.
        key: of the rows.
        settings: resamples, control halves and seed.
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
    n_draws, first = supports.n_draws, None
    if isinstance(model.module.prior, StandardNormalPrior):
        n_draws = 1  # it adapts nothing
    elif not model.adapts_in_closed_form and n_shot.takes_fewer:
        n_draws = first = n_shot.gradient_draws
    halves, simple = _halves(observed, columns.control, settings)
    curves = _Curves(halves, simple, supports, n_draws)
    total = observed.target_total
    control = with_model_counts(screen[list(split.control_a + split.control_b)], model)
    profiles = sampled_profiles(model, control, total, settings)[0]
    names_of_control = control.obs_names.to_numpy(dtype=str)
    starts = [
        profiles[np.isin(names_of_control, half.split.control_a)].mean(axis=0) for half in halves
    ]
    query = with_model_counts(screen[supports.query_cells], model)
    labels = read_perturbations(query, columns)
    enough = -(-SAMPLED_CELLS * len(supports.query) // query.n_obs)
    of_query = replace(settings, n_draws=min(enough, settings.n_draws))
    for size in supports.sizes:
        of_size = np.isin(labels, supports.possible(size))
        for draw in range(n_draws):
            adapted = model.adapt(screen[supports.support(size, draw)], sparse=n_shot.sparse)
            cells, names = query[of_size], labels[of_size]
            profiles = sampled_profiles(adapted, cells, total, of_query)[0]
            for label in np.unique(names).tolist():
                mean = profiles[names == label].mean(axis=0)
                curves.take(size, draw, label, [mean - start for start in starts])
    return curves.rows(key, settings, [first])


def _halves(
    observed: ObservedEffects, control: str | None, settings: ScoreSettings
) -> tuple[list[ObservedEffects], list[SimplePredictors]]:
    halves = observed.halves(settings.n_halves, settings.seed)
    return halves, [SimplePredictors(half, control) for half in halves]


def _supports(supports: NestedSupports, n_draws: int) -> Iterator[tuple[int, int, str]]:
    for size in supports.sizes:
        for draw in range(n_draws):
            for label in supports.possible(size):
                yield size, draw, label
