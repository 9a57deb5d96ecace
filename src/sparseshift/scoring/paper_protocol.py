"""I-NLL as the paper scored it: held-out perturbations are adapted to and scored on the same cells."""

import logging

import numpy as np
import pandas as pd
from anndata import AnnData

from sparseshift.data.splits import Split
from sparseshift.evaluation.intervals import Interval, hierarchical_bootstrap, macro_mean
from sparseshift.fitted_model import FittedModel
from sparseshift.scoring.cells import with_model_counts
from sparseshift.scoring.settings import ScoreSettings
from sparseshift.scoring.tidy import RunKey
from sparseshift.screens.cells import read_perturbations

logger = logging.getLogger(__name__)

ALL_HELD_OUT = "held_out_cells"
LEAST_CELLS = (
    10  # of a perturbation; those with so many or fewer are left out, as in the published code
)


def score_as_paper(
    model: FittedModel, screen: AnnData, split: Split, key: RunKey, settings: ScoreSettings
) -> pd.DataFrame:
    """The row paper_inll_macro_kK, and over how many perturbations it is; none where nothing is held out.

    Each perturbation has had as many free values as there are latents fitted to the cells that it is scored
    on, which favours models that adapt by about so many nats in all over those that do not (vae). For
    comparison with the published tables only; every other score keeps support and query apart.

    Args:
        model: as trained, not adapted.
        screen: all cells.
        split: whose held-out perturbations.
        key: of the row.
        settings: particles, resamples and seed.
    """
    labels = read_perturbations(screen, model.spec.columns)
    cells = with_model_counts(screen[np.isin(labels, split.held_out)], model)
    if not cells.n_obs:
        return key.rows([])
    bound = model.adapt(cells).cell_iwelbo(cells, settings.n_particles, seed=settings.seed)
    own = read_perturbations(cells, model.spec.columns)
    groups = {str(name): -bound.to_numpy()[own == name] for name in np.unique(own)}
    large = {name: values for name, values in groups.items() if len(values) > LEAST_CELLS}
    if small := sorted(set(split.held_out) - set(large)):
        logger.warning(
            "As published, split %r is scored without perturbations of %d cells or fewer: %s.",
            split.name, LEAST_CELLS, ", ".join(small),
        )  # fmt: skip
    if not large:
        return key.rows([])
    resample = {"n_resamples": settings.n_resamples, "seed": settings.seed}
    interval = hierarchical_bootstrap(large, macro_mean, **resample)
    return key.rows(
        [
            (f"paper_inll_macro_k{settings.n_particles}", ALL_HELD_OUT, interval),
            ("query_perturbations", ALL_HELD_OUT, Interval(float(len(large)), np.nan, np.nan)),
        ]
    )
