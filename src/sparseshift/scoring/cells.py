"""A fit on cells: the log-likelihood bound of query cells, and latents of all."""

import numpy as np
import pandas as pd
from anndata import AnnData

from sparseshift.data.splits import Split
from sparseshift.fitted_factors import FittedFactors
from sparseshift.fitted_model import FittedModel
from sparseshift.scoring.settings import ScoreSettings
from sparseshift.screens.cells import read_perturbations, with_counts

Model = FittedModel | FittedFactors


def with_model_counts(screen: AnnData, model: Model) -> AnnData:
    """The cells that have a count in the model's genes; the others cannot be scored or embedded."""
    return with_counts(screen[:, list(model.spec.genes)], model.spec.columns)


def score_cells(
    model: Model, screen: AnnData, split: Split, settings: ScoreSettings
) -> pd.DataFrame:
    """The log-likelihood bound of every query cell: columns cell, perturbation, iwelbo (nats).

    Args:
        model: adapted to the split's support cells.
        screen: all cells.
        split: whose query cells to score; without any, the table is empty, as it is for a model
            without a likelihood.
        settings: how to score.
    """
    if not split.query or isinstance(model, FittedFactors):
        return pd.DataFrame({"cell": [], "perturbation": [], "iwelbo": []})
    query = with_model_counts(screen[list(split.query)], model)
    bound = model.cell_iwelbo(query, settings.n_particles, seed=settings.seed)
    labels = read_perturbations(query, model.spec.columns)
    return pd.DataFrame(
        {"cell": list(query.obs_names), "perturbation": labels, "iwelbo": bound.to_numpy()}
    )


def with_latents(screen: AnnData, latents: dict[str, pd.DataFrame]) -> AnnData:
    """A copy of the screen with the latents of fits in obsm, NaN for cells without counts.

    Args:
        screen: all cells.
        latents: name of the obsm entry to (cells, latents).
    """
    embedded = screen.copy()
    for name, table in latents.items():
        embedded.obsm[name] = table.reindex(screen.obs_names).to_numpy(dtype=np.float32)
    return embedded
