"""A fit of a simulated screen against the truth the screen was drawn with."""

import numpy as np
import pandas as pd
from anndata import AnnData

from sparseshift.data.splits import Split
from sparseshift.evaluation.graph_recovery import graph_recovery
from sparseshift.evaluation.intervals import Interval
from sparseshift.evaluation.latent_matching import LatentMatching, match_latents
from sparseshift.evaluation.latent_regression import latent_r2
from sparseshift.fitted_model import FittedModel
from sparseshift.scoring.cells import Model, with_model_counts
from sparseshift.scoring.tidy import RunKey
from sparseshift.screens.cells import read_perturbations

TRAINED = "trained"


def has_truth(screen: AnnData) -> bool:
    """Whether the true latents and shifts of a screen are known (`sparseshift.simulate`)."""
    return "z" in screen.obsm and {"shifts", "perturbations"} <= set(screen.uns)


def score_recovery(model: Model, screen: AnnData, split: Split, key: RunKey) -> pd.DataFrame:
    """How well true latents and edges are recovered, as tidy rows; none without a known truth.

    Of the perturbations that were trained and their cells, control cells aside. Edges are scored
    where the model searches for them: a dense graph, found by construction, has no such rows.

    Args:
        model: fitted to the split; adapted or not.
        screen: all cells, with obsm["z"], uns["shifts"] and uns["perturbations"].
        split: which perturbations were trained.
        key: of the rows.
    """
    if not has_truth(screen):
        return key.rows([])
    labels = read_perturbations(screen, model.spec.columns)
    chosen = split.is_training(labels) & (labels != model.spec.columns.control)
    cells = with_model_counts(screen[chosen], model)
    true, learnt = np.asarray(cells.obsm["z"]), model.latents(cells)
    matching = match_latents(true, learnt)
    found = {
        "mcc_pearson": matching.mcc,
        "mcc_spearman": match_latents(true, learnt, "spearman").mcc,
        "r2": latent_r2(true, learnt).mean,
    }
    if isinstance(model, FittedModel) and model.spec.options.mask_prior != "none":
        found |= _graph_scores(model, screen, matching)
    return key.rows([(name, TRAINED, Interval(v, np.nan, np.nan)) for name, v in found.items()])


def _graph_scores(
    model: FittedModel, screen: AnnData, matching: LatentMatching
) -> dict[str, float]:
    names = np.asarray(screen.uns["perturbations"]).astype(str)
    trained = np.isin(names, model.spec.trained)
    inclusion = model.inclusion_probability().loc[names[trained].tolist()]
    shifts = np.asarray(screen.uns["shifts"])[trained]
    scores = graph_recovery(shifts != 0.0, inclusion.to_numpy() > 0.5, matching)
    return {
        "graph_precision": scores.precision,
        "graph_recall": scores.recall,
        "graph_f1": scores.f1,
    }
