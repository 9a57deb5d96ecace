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
from sparseshift.fitted_factors import FittedFactors
from sparseshift.fitted_model import FittedModel
from sparseshift.scoring.cells import Model
from sparseshift.scoring.effects import ObservedEffects, predicted_effects
from sparseshift.scoring.settings import ScoreSettings
from sparseshift.scoring.tidy import RunKey

QUERY = "held_out_query"


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
    model: Model,
    cells: pd.DataFrame,
    screen: AnnData,
    split: Split,
    key: RunKey,
    settings: ScoreSettings,
) -> pd.DataFrame:
    """An adapted model on held-out perturbations, as tidy rows.

    There are none where nothing is held out, nor for a model without a likelihood.

    Args:
        model: adapted to the split's support cells.
        cells: of `score_cells`.
        screen: all cells.
        split: whose query and control cells to use.
        key: of the rows.
        settings: how to score.
    """
    if cells.empty or isinstance(model, FittedFactors):
        return key.rows([])
    groups = {str(name): -g.to_numpy() for name, g in cells.groupby("perturbation")["iwelbo"]}
    resample = {"n_resamples": settings.n_resamples, "seed": settings.seed}
    k = settings.n_particles
    values = [
        (f"inll_macro_k{k}", QUERY, hierarchical_bootstrap(groups, macro_mean, **resample)),
        (f"inll_micro_k{k}", QUERY, hierarchical_bootstrap(groups, micro_mean, **resample)),
    ]
    if split.control_a:
        observed = ObservedEffects(screen, model.spec.columns, split, model.spec.genes)
        predicted = predicted_effects(model, screen, split, observed.target_total, settings)
        values.append(("ate_pearson_r", QUERY, observed.score(predicted, settings)))
        values.append(("ate_rmse", QUERY, observed.error(predicted, settings)))
    return key.rows(values)
