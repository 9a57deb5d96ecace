"""The fits of a split beside each other, or of all folds of a cross-fit."""

from collections.abc import Sequence

import pandas as pd

from sparseshift.scoring.ceilings import rescale_predictions
from sparseshift.scoring.differences import effect_differences, likelihood_differences
from sparseshift.scoring.settings import ScoreSettings
from sparseshift.scoring.simple_predictors import BASELINES
from sparseshift.scoring.tidy import RunKey

CROSS_FIT = "cross_fit"

# a fit, its table of `score_cells` and that of `score_model_predictions`
ScoredFit = tuple[RunKey, pd.DataFrame, pd.DataFrame]


def compare_fits(
    fits: Sequence[ScoredFit],
    baseline_predictions: pd.DataFrame,
    nb_scores: pd.DataFrame,
    settings: ScoreSettings,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Paired differences, tidy, and the table of `rescale_predictions` with the split in front.

    Args:
        fits: of one screen and split.
        baseline_predictions: of `score_baseline_predictions`.
        nb_scores: likelihoods of independent genes: model, cell, log_likelihood.
        settings: how to score.
    """
    named = [table.assign(model=key.model) for key, _, table in fits if len(table)]
    scores = pd.concat([*named, baseline_predictions], ignore_index=True)
    key = fits[0][0]
    simple = {str(model): own for model, own in nb_scores.groupby("model")}
    differences = [
        likelihood_differences(
            [(run, cells) for run, cells, _ in fits],
            simple,
            settings,
        ),
        effect_differences(scores, BASELINES, key, settings),
    ]
    filled = [table for table in differences if len(table)]
    models = list(dict.fromkeys(run.model for run, _, _ in fits))
    ceilings = rescale_predictions(scores, models, settings)
    ceilings.insert(0, "split", key.split)
    return pd.concat(filled, ignore_index=True) if filled else differences[0], ceilings


def join_folds(fits: Sequence[ScoredFit]) -> list[ScoredFit]:
    """One fit a model and seed of those of all folds: each perturbation was held out in one of them."""
    joined: dict[RunKey, list[ScoredFit]] = {}
    for key, cells, predictions in fits:
        whole = RunKey(key.screen, key.model, CROSS_FIT, key.seed)
        joined.setdefault(whole, []).append((key, cells, predictions))
    return [
        (
            whole,
            pd.concat([cells for _, cells, _ in parts], ignore_index=True),
            pd.concat([table for _, _, table in parts], ignore_index=True),
        )
        for whole, parts in joined.items()
    ]
