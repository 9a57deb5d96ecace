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
from sparseshift.scoring.effects import ObservedEffects, predicted_effects
from sparseshift.scoring.settings import ScoreSettings
from sparseshift.scoring.tidy import RunKey

QUERY = "held_out_query"


def score_training(model: FittedModel, key: RunKey) -> pd.DataFrame:
    """Validation ELBO of the kept weights and number of trained edges, as tidy rows."""
    best = model.records.best_record
    trained = model.inclusion_probability().loc[list(model.spec.trained)]
    value = [
        ("validation_negative_elbo", "validation_cells", best.validation_negative_elbo),
        (
            "validation_negative_elbo_macro",
            "validation_cells",
            best.validation_negative_elbo_macro,
        ),
        ("n_edges", "trained", float((trained > 0.5).to_numpy().sum())),
    ]
    return key.rows([(metric, subset, Interval(v, np.nan, np.nan)) for metric, subset, v in value])


def score_query(
    model: FittedModel,
    cells: pd.DataFrame,
    screen: AnnData,
    split: Split,
    key: RunKey,
    settings: ScoreSettings,
) -> pd.DataFrame:
    """An adapted model on held-out perturbations, as tidy rows; none where nothing is held out.

    Args:
        model: adapted to the split's support cells.
        cells: of `score_cells`.
        screen: all cells.
        split: whose query and control cells to use.
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
    ]
    if split.control_a:
        observed = ObservedEffects(screen, model.spec.columns, split, model.spec.genes)
        predicted = predicted_effects(model, screen, split, observed.target_total, settings)
        values.append(("ate_pearson_r", QUERY, observed.score(predicted, settings)))
        values.append(("ate_rmse", QUERY, observed.error(predicted, settings)))
    return key.rows(values)
