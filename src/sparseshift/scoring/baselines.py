"""The predictors every model must beat, on the same query cells."""

import numpy as np
import pandas as pd
from anndata import AnnData

from sparseshift.data.design import Design, parts
from sparseshift.data.splits import Split
from sparseshift.evaluation.average_effects import (
    effect_variances,
    log_normalise,
    sampling_variance,
)
from sparseshift.models.baselines import (
    additive_effect,
    mean_effect,
    no_change,
    shrunk_effect,
)
from sparseshift.models.low_rank_effects import fit_low_rank_effects
from sparseshift.models.ridge_effects import choose_penalty, ridge_effects
from sparseshift.scoring.effects import ObservedEffects
from sparseshift.scoring.fits import QUERY
from sparseshift.scoring.settings import ScoreSettings
from sparseshift.scoring.tidy import RunKey
from sparseshift.screens.columns import Columns

BASELINES = (
    "no_change",
    "mean_effect",
    "additive",
    "ridge",
    "low_rank_linear",
    "support_mean",
    "support_mean_shrunk",
)


def score_baselines(
    screen: AnnData,
    columns: Columns,
    split: Split,
    genes: tuple[str, ...],
    name: str,
    settings: ScoreSettings,
) -> pd.DataFrame:
    """The predictors every model must beat, on the same query cells, as tidy rows.

    no_change: the control mean; its correlation is not defined, so that it has no such row.
    mean_effect: control mean + mean effect of the training perturbations. additive: the sum of the
    parts' effects for a combination whose parts were all trained alone, else mean_effect. ridge:
    the sum of the parts' ridge coefficients if any part was trained, else mean_effect.
    low_rank_linear: from the embedding of the perturbed genes if all are measured, else mean_effect.
    support_mean: the effect in the support cells, which models adapt to. support_mean_shrunk: the
    same, shrunk to the mean effect by empirical Bayes.

    Args:
        screen: all cells.
        columns: of the screen.
        split: held-out perturbations, support, query, control halves.
        genes: that models see.
        name: of the screen.
        settings: how to score.
    """
    if not split.query or not split.control_a:
        return RunKey(name, "mean_effect", split.name, None).rows([])
    observed = ObservedEffects(screen, columns, split, genes)
    frames = []
    for model, effects in baseline_effects(observed, columns.control).items():
        scores = [
            ("ate_pearson_r", QUERY, observed.score(effects, settings)),
            ("ate_rmse", QUERY, observed.error(effects, settings)),
        ]
        defined = [row for row in scores if np.isfinite(row[2].value)]
        frames.append(RunKey(name, model, split.name, None).rows(defined))
    return pd.concat(frames, ignore_index=True)


def baseline_effects(
    observed: ObservedEffects, control: str | None
) -> dict[str, dict[str, np.ndarray]]:
    """For each baseline the predicted effect of each held-out perturbation, (genes,)."""
    split, labels = observed.split, observed.labels
    profiles = log_normalise(observed.counts, observed.target_total)
    reference = observed.rows(split.control_a)
    control_mean = profiles[reference].mean(0)
    trained = sorted(set(labels[split.is_training(labels)].tolist()) - {control})
    cells = {label: profiles[labels == label] for label in trained}
    effects = {label: cells[label].mean(0) - control_mean for label in trained}
    average, between = mean_effect(effects), effect_variances(cells, effects)
    ridge = _ridge(split.held_out, effects, control)
    low_rank = fit_low_rank_effects(control_mean, effects, observed.genes)
    support = observed.rows(split.support)
    predictions: dict[str, dict[str, np.ndarray]] = {name: {} for name in BASELINES}
    for label in split.held_out:
        own = profiles[support[labels[support] == label]]
        seen = own.mean(0) - control_mean
        noise = sampling_variance(own) + sampling_variance(profiles[reference])
        found = {
            "no_change": no_change(len(average)),
            "mean_effect": average,
            "additive": additive_effect(parts(label), effects),
            "ridge": ridge.get(label),
            "low_rank_linear": None if low_rank is None else low_rank.predict(label),
            "support_mean": seen,
            "support_mean_shrunk": shrunk_effect(seen, average, between, noise),
        }
        for name, effect in found.items():
            predictions[name][label] = average if effect is None else effect
    return predictions


def _ridge(
    held_out: tuple[str, ...], effects: dict[str, np.ndarray], control: str | None
) -> dict[str, np.ndarray]:
    """Ridge predictions of the held-out labels of which some part was trained."""
    design = Design.of_labels([*effects, *held_out], control, additive=True)
    training = design.matrix(list(effects)).astype(float)
    observed = np.array(list(effects.values()), dtype=float)
    by_part = ridge_effects(training, observed, choose_penalty(training, observed))
    is_trained = training.any(axis=0)
    rows = dict(zip(held_out, design.matrix(held_out), strict=True))
    return {label: row @ by_part for label, row in rows.items() if row[is_trained].any()}
