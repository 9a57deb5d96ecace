"""What a model predicts of query and control cells: profiles of cells that it samples."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from anndata import AnnData

from sparseshift.data.splits import Split
from sparseshift.evaluation.average_effects import log_normalise
from sparseshift.fitted_model import FittedModel
from sparseshift.scoring.cells import with_model_counts
from sparseshift.scoring.settings import ScoreSettings
from sparseshift.screens.cells import read_perturbations


@dataclass(frozen=True)
class PredictedProfiles:
    """Log-normalised profiles of sampled cells; labels, totals and batches are those of real ones.

    Attributes:
        perturbed: label to the mean over its query cells and all draws, (genes,).
        cells: label to one draw of each of its query cells, (cells, genes).
        controls: mean over draws for each control cell, (control cells, genes).
        control_names: names of the control cells.
    """

    perturbed: dict[str, np.ndarray]
    cells: dict[str, np.ndarray]
    controls: np.ndarray
    control_names: np.ndarray

    def effects(self, split: Split) -> dict[str, np.ndarray]:
        """Predicted effect of each label, from the control half A of a split, (genes,)."""
        start = self.controls[np.isin(self.control_names, split.control_a)].mean(axis=0)
        return {label: profile - start for label, profile in self.perturbed.items()}


def predict_profiles(
    model: FittedModel, screen: AnnData, split: Split, target_total: float, settings: ScoreSettings
) -> PredictedProfiles:
    """Samples the query cells of a split and its control cells from a model.

    Args:
        model: adapted to the split's support cells.
        screen: all cells.
        split: whose cells.
        target_total: counts to which profiles are scaled (`ObservedEffects`).
        settings: how many draws, from which seed.
    """
    query = with_model_counts(screen[list(split.query)], model)
    labels = read_perturbations(query, model.spec.columns)
    controls = with_model_counts(screen[list(split.control_a + split.control_b)], model)
    perturbed, cells = {}, {}
    for label in np.unique(labels).tolist():
        mean, first = sampled_profiles(model, query[labels == label], target_total, settings)
        perturbed[str(label)], cells[str(label)] = mean.mean(axis=0), first
    mean, _ = sampled_profiles(model, controls, target_total, settings)
    return PredictedProfiles(perturbed, cells, mean, controls.obs_names.to_numpy(dtype=str))


def predict_without_support(
    model: FittedModel,
    screen: AnnData,
    split: Split,
    labels: Sequence[str],
    profiles: PredictedProfiles,
    target_total: float,
    settings: ScoreSettings,
) -> PredictedProfiles:
    """Samples the query cells of some labels from a model that saw none of their cells.

    Args:
        model: as it was trained; perturbations that it does not know shift nothing.
        screen: all cells.
        split: whose query cells.
        labels: of query cells.
        profiles: of the same split, whose sampled control cells are taken over.
        target_total: counts to which profiles are scaled.
        settings: how many draws, from which seed.
    """
    unseen = model.without_support(labels)
    query = with_model_counts(screen[list(split.query)], unseen)
    of_cell = read_perturbations(query, model.spec.columns)
    perturbed = {
        label: sampled_profiles(unseen, query[of_cell == label], target_total, settings)[0].mean(0)
        for label in labels
    }
    return replace(profiles, perturbed=perturbed, cells={})


def sampled_profiles(
    model: FittedModel, cells: AnnData, target_total: float, settings: ScoreSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Log-normalised cells with the labels, totals and batches of these: mean of the draws, and the first.

    Returns:
        Each (cells, genes).
    """
    first = log_normalise(model.sample(cells, seed=settings.seed), target_total)
    total = first.astype(np.float64)
    for draw in range(1, settings.n_draws):
        total += log_normalise(model.sample(cells, seed=settings.seed + draw), target_total)
    return total / settings.n_draws, first
