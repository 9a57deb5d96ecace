"""A fit as tidy rows: on its validation cells, and on held-out perturbations."""

import numpy as np
import pandas as pd
from anndata import AnnData

from sparseshift.data.splits import Split
from sparseshift.evaluation.intervals import (
    Interval,
    hierarchical_bootstrap,
    macro_mean,
    micro_mean,
)
from sparseshift.fitted_model import FittedModel
from sparseshift.scoring.cells import Model
from sparseshift.scoring.effects import ObservedEffects
from sparseshift.scoring.prediction_scores import PredictionTask, summarise_scores
from sparseshift.scoring.predictions import predict_profiles, predict_without_support
from sparseshift.scoring.settings import ScoreSettings
from sparseshift.scoring.simple_predictors import support_effects
from sparseshift.scoring.tidy import QUERY, RunKey


def score_training(model: Model, key: RunKey) -> pd.DataFrame:
    """Validation ELBO of the kept weights and number of trained edges, as tidy rows.

    A model that was changed after its last evaluation, or never evaluated, has no ELBO here. Whether
    the number of edges came to rest is said of the models that search for edges.
    """
    trained = model.inclusion_probability().loc[list(model.spec.trained)]
    value = [("n_edges", "trained", float((trained > 0.5).to_numpy().sum()))]
    if isinstance(model, FittedModel) and model.spec.recipe != "rotation_only":
        best, validated = model.records.best_record, "validation_cells"
        macro = best.validation_negative_elbo_macro
        value = [
            ("validation_negative_elbo", validated, best.validation_negative_elbo),
            ("validation_negative_elbo_macro", validated, macro),
            *value,
        ]
        if model.spec.options.mask_prior != "none":
            value.append(("edges_converged", "trained", float(model.records.edges_converged)))
    return key.rows([(metric, subset, Interval(v, np.nan, np.nan)) for metric, subset, v in value])


def score_query(
    cells: pd.DataFrame, predictions: pd.DataFrame, key: RunKey, settings: ScoreSettings
) -> pd.DataFrame:
    """An adapted model on query cells, as tidy rows.

    There are none where nothing is held out, nor for a model without a likelihood.

    Args:
        cells: of `score_cells`.
        predictions: of `score_model_predictions`.
        key: of the rows.
        settings: how to score.
    """
    if cells.empty:
        return key.rows([])
    groups = {str(name): -g.to_numpy() for name, g in cells.groupby("perturbation")["iwelbo"]}
    resample = {"n_resamples": settings.n_resamples, "seed": settings.seed}
    k = settings.n_particles
    values = [
        (f"inll_macro_k{k}", QUERY, hierarchical_bootstrap(groups, macro_mean, **resample)),
        (f"inll_micro_k{k}", QUERY, hierarchical_bootstrap(groups, micro_mean, **resample)),
        ("query_cells", QUERY, Interval(float(len(cells)), np.nan, np.nan)),
        ("query_perturbations", QUERY, Interval(float(len(groups)), np.nan, np.nan)),
    ]
    values += summarise_scores(predictions, settings)
    return key.rows(values)


def score_model_predictions(
    model: Model,
    adapted: Model,
    cells: pd.DataFrame,
    screen: AnnData,
    split: Split,
    settings: ScoreSettings,
) -> pd.DataFrame:
    """How well a model predicts effects: perturbation, kind, metric, value.

    Combinations are predicted once more without any of their cells, if their design is the sum of their parts. There are no
    rows where nothing is held out, without a control, nor for a model without a likelihood.

    Args:
        model: as it was trained.
        adapted: to the split's support cells.
        cells: of `score_cells`.
        screen: all cells.
        split: whose query and control cells to use.
        settings: how to score.
    """
    if cells.empty or not isinstance(adapted, FittedModel) or not split.control_a:
        return pd.DataFrame({"perturbation": [], "kind": [], "metric": [], "value": []})
    columns = adapted.spec.columns
    observed = ObservedEffects(screen, columns, split, adapted.spec.genes)
    profiles = predict_profiles(adapted, screen, split, observed.target_total, settings)
    task = PredictionTask(observed, columns.control, settings.n_halves, settings.seed)
    predicted = [profiles.effects(half.split) for half in task.halves]
    seen = [support_effects(half) for half in task.halves]
    scores = task.score(predicted, seen, profiles.cells)
    if not (task.combinations and isinstance(model, FittedModel) and model.spec.design.additive):
        return scores
    unseen = predict_without_support(
        model, screen, split, task.combinations, profiles, observed.target_total, settings
    )
    zero_shot = task.score_zero_shot([unseen.effects(half.split) for half in task.halves])
    return pd.concat([scores, zero_shot], ignore_index=True)
