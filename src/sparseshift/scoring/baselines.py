"""The predictors every model must beat, on the same query cells."""

import numpy as np
import pandas as pd
from anndata import AnnData

from sparseshift.data.splits import Split
from sparseshift.scoring.effects import ObservedEffects
from sparseshift.scoring.prediction_scores import PredictionTask, summarise_scores
from sparseshift.scoring.settings import ScoreSettings
from sparseshift.scoring.simple_predictors import (
    BASELINES,
    SEE_SUPPORT,
    baseline_effects,
    support_rows,
)
from sparseshift.scoring.tidy import RunKey
from sparseshift.screens.columns import Columns


def score_baseline_predictions(
    screen: AnnData,
    columns: Columns,
    split: Split,
    genes: tuple[str, ...],
    settings: ScoreSettings,
) -> pd.DataFrame:
    """The predictors every model must beat, on the same query cells: model, perturbation, kind, metric, value.

    Those of `SimplePredictors`. The correlation of no_change is not defined, so that it has no such row.

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
        "support_mean": {n: observed.profiles[support_rows(observed, n)] for n in task.names},
        "mean_effect": dict.fromkeys(
            task.names, _some_trained(observed, columns.control, settings)
        ),
    }
    frames = []
    for name in BASELINES:
        predicted = [half[name] for half in effects]
        frames.append(task.score(predicted, seen, cells.get(name)).assign(model=name))
        if task.combinations and name not in SEE_SUPPORT:
            frames.append(task.score_zero_shot(predicted).assign(model=name))
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


def _some_trained(
    observed: ObservedEffects, control: str | None, settings: ScoreSettings
) -> np.ndarray:
    """Profiles of some cells of all training perturbations: what a perturbed cell looks like."""
    rows = np.flatnonzero(observed.is_training & observed.counted & (observed.labels != control))
    drawn = np.random.default_rng(settings.seed).permutation(rows)[:500]
    return observed.profiles[drawn]
