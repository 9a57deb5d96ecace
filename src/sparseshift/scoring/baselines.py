"""The predictors every model must beat, on the same query cells."""

import numpy as np
import pandas as pd
from anndata import AnnData

from sparseshift.data.design import Design, parts
from sparseshift.data.splits import Split
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
from sparseshift.models.low_rank_effects import fit_low_rank_effects
from sparseshift.models.ridge_effects import choose_penalty, ridge_effects
from sparseshift.scoring.effects import ObservedEffects
from sparseshift.scoring.prediction_scores import PredictionTask, summarise_scores
from sparseshift.scoring.settings import ScoreSettings
from sparseshift.scoring.tidy import RunKey
from sparseshift.screens.columns import Columns

BASELINES = (
    "no_change",
    "mean_effect",
    "additive",
    "ridge",
    "low_rank_linear",
    "matching_mean",
    "support_mean",
    "support_mean_shrunk",
    "support_mean_to_control",
)


def score_baseline_predictions(
    screen: AnnData,
    columns: Columns,
    split: Split,
    genes: tuple[str, ...],
    settings: ScoreSettings,
) -> pd.DataFrame:
    """The predictors every model must beat, on the same query cells: model, perturbation, kind, metric, value.

    no_change: the control mean; its correlation is not defined, so that it has no such row.
    mean_effect: control mean + mean effect of the training perturbations. additive: the sum of the
    parts' effects for a combination whose parts were all trained alone, else mean_effect. ridge:
    the sum of the parts' ridge coefficients if any part was trained, else mean_effect.
    low_rank_linear: from the embedding of the perturbed genes if all are measured, else mean_effect.
    matching_mean: the mean of the parts' effects, mean_effect for parts that were not trained alone. support_mean: the effect in the support cells, which models adapt to.
    support_mean_shrunk: the same, shrunk to the mean effect by empirical Bayes. support_mean_to_control: the same, shrunk to no
    effect.

    Args:
        screen: all cells.
        columns: of the screen.
        split: held-out perturbations, support, query, control halves.
        genes: that models see.
        settings: how to score.
    """
    if not split.query or not split.control_a:
        return pd.DataFrame(
            {"model": [], "perturbation": [], "kind": [], "metric": [], "value": []}
        )
    observed = ObservedEffects(screen, columns, split, genes)
    task = PredictionTask(observed, columns.control, settings.n_halves, settings.seed)
    effects = [baseline_effects(half, columns.control) for half in task.halves]
    seen = [half["support_mean"] for half in effects]
    cells = {
        "support_mean": {name: observed.profiles[_support(observed, name)] for name in task.names},
        "mean_effect": dict.fromkeys(
            task.names, _some_trained(observed, columns.control, settings)
        ),
    }
    frames = [
        task.score([half[name] for half in effects], seen, cells.get(name)).assign(model=name)
        for name in BASELINES
    ]
    return pd.concat(frames, ignore_index=True)[
        ["model", "perturbation", "kind", "metric", "value"]
    ]


def score_baselines(
    predictions: pd.DataFrame, screen: str, split: str, settings: ScoreSettings
) -> pd.DataFrame:
    """Means over perturbations of `score_baseline_predictions`, as tidy rows.

    Args:
        predictions: of all baselines.
        screen: its name.
        split: its name.
        settings: how to score.
    """
    frames = [
        RunKey(screen, str(model), split, None).rows(summarise_scores(own, settings))
        for model, own in predictions.groupby("model", sort=False)
    ]
    empty = RunKey(screen, "mean_effect", split, None).rows([])
    return pd.concat(frames, ignore_index=True) if frames else empty


def support_effects(observed: ObservedEffects) -> dict[str, np.ndarray]:
    """Effects in the cells that models adapt to, or were trained on, from control half A, (genes,)."""
    start = observed.profile(observed.rows(observed.split.control_a))
    return {name: observed.profile(_support(observed, name)) - start for name in observed.effects}


def _support(observed: ObservedEffects, label: str) -> np.ndarray:
    """Rows of a label's support cells; random cells are held out of trained ones, whose others these are."""
    rows = observed.rows(observed.split.support)
    own = rows[observed.labels[rows] == label]
    trained = observed.is_training & observed.counted & (observed.labels == label)
    return own if len(own) else np.flatnonzero(trained)


def _some_trained(
    observed: ObservedEffects, control: str | None, settings: ScoreSettings
) -> np.ndarray:
    """Profiles of some cells of all training perturbations: what a perturbed cell looks like."""
    rows = np.flatnonzero(observed.is_training & observed.counted & (observed.labels != control))
    drawn = np.random.default_rng(settings.seed).permutation(rows)[:500]
    return observed.profiles[drawn]


def baseline_effects(
    observed: ObservedEffects, control: str | None
) -> dict[str, dict[str, np.ndarray]]:
    """For each baseline the predicted effect of each scored perturbation, (genes,)."""
    profiles = observed.profiles
    reference = observed.rows(observed.split.control_a)
    control_mean = profiles[reference].mean(0)
    cells = training_profiles(observed, control)
    effects = {label: own.mean(0) - control_mean for label, own in cells.items()}
    average, between = mean_effect(effects), effect_variances(cells, effects)
    square = mean_square_effect(cells, effects, profiles[reference])
    nothing = no_change(len(average))
    ridge = _ridge(tuple(observed.effects), effects, control)
    low_rank = fit_low_rank_effects(control_mean, effects, observed.symbols)
    predictions: dict[str, dict[str, np.ndarray]] = {name: {} for name in BASELINES}
    for label in observed.effects:
        own = profiles[_support(observed, label)]
        seen = own.mean(0) - control_mean
        noise = sampling_variance(own) + sampling_variance(profiles[reference])
        found = {
            "no_change": nothing,
            "mean_effect": average,
            "additive": additive_effect(parts(label), effects),
            "ridge": ridge.get(label),
            "matching_mean": matching_effect(parts(label), effects, average),
            "low_rank_linear": None if low_rank is None else low_rank.predict(label),
            "support_mean": seen,
            "support_mean_shrunk": shrunk_effect(seen, average, between, noise),
            "support_mean_to_control": shrunk_effect(seen, nothing, square, noise),
        }
        for name, effect in found.items():
            predictions[name][label] = average if effect is None else effect
    return predictions


def training_profiles(observed: ObservedEffects, control: str | None) -> dict[str, np.ndarray]:
    """Log-normalised training cells of each training perturbation, each (cells, genes)."""
    training = observed.is_training & observed.counted
    trained = sorted(set(observed.labels[training].tolist()) - {control})
    return {t: observed.profiles[training & (observed.labels == t)] for t in trained}


def _ridge(
    scored: tuple[str, ...], effects: dict[str, np.ndarray], control: str | None
) -> dict[str, np.ndarray]:
    """Ridge predictions of the scored labels of which some part was trained."""
    design = Design.of_labels([*effects, *scored], control, additive=True)
    training = design.matrix(list(effects)).astype(float)
    observed = np.array(list(effects.values()), dtype=float)
    by_part = ridge_effects(training, observed, choose_penalty(training, observed))
    is_trained = training.any(axis=0)
    rows = dict(zip(scored, design.matrix(scored), strict=True))
    return {label: row @ by_part for label, row in rows.items() if row[is_trained].any()}
