"""Average effects on expression: observed in query cells, and predicted by a model."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from anndata import AnnData

from sparseshift.data.splits import Split
from sparseshift.evaluation.average_effects import log_normalise, mean_profile, pearson_r, rmse
from sparseshift.evaluation.intervals import Interval, bootstrap_mean
from sparseshift.fitted_model import FittedModel
from sparseshift.scoring.cells import with_model_counts
from sparseshift.scoring.settings import ScoreSettings
from sparseshift.screens.cells import dense_counts, read_perturbations
from sparseshift.screens.columns import Columns


class ObservedEffects:
    """Effects on mean expression of a split's held-out perturbations, from query cells.

    Profiles are log-normalised to the median total of the training control cells. Observations
    start from control half B, predictions from half A.
    """

    def __init__(
        self, screen: AnnData, columns: Columns, split: Split, genes: tuple[str, ...]
    ) -> None:
        self.labels = read_perturbations(screen, columns)
        self.counts = dense_counts(screen, columns.layer, genes)
        self.position = pd.Series(np.arange(screen.n_obs), index=screen.obs_names)
        self.split = split
        self.genes = genes
        controls = self.rows(split.control_a + split.control_b)
        self.target_total = float(np.median(self.counts[controls].sum(1)))
        reference = self.profile(self.rows(split.control_b))
        query = self.rows(split.query)
        self.effects = {
            label: self.profile(query[self.labels[query] == label]) - reference
            for label in split.held_out
        }

    def rows(self, cells: tuple[str, ...]) -> np.ndarray:
        """Row numbers of cells by name; those without a count in these genes are left out."""
        rows = self.position.loc[list(cells)].to_numpy()
        return rows[self.counts[rows].sum(1) > 0]

    def profile(self, rows: np.ndarray) -> np.ndarray:
        """Mean log-normalised profile of some cells, (genes,)."""
        return mean_profile(self.counts[rows], self.target_total)

    def score(self, predicted: dict[str, np.ndarray], settings: ScoreSettings) -> Interval:
        """Mean over held-out perturbations of the correlation of effects over genes."""
        return self._mean(pearson_r, predicted, settings)

    def error(self, predicted: dict[str, np.ndarray], settings: ScoreSettings) -> Interval:
        """Mean over held-out perturbations of the root mean squared error over genes."""
        return self._mean(rmse, predicted, settings)

    def _mean(
        self,
        score: Callable[[np.ndarray, np.ndarray], float],
        predicted: dict[str, np.ndarray],
        settings: ScoreSettings,
    ) -> Interval:
        values = [score(predicted[label], self.effects[label]) for label in sorted(self.effects)]
        return bootstrap_mean(
            np.array(values), n_resamples=settings.n_resamples, seed=settings.seed
        )


def predicted_effects(
    model: FittedModel, screen: AnnData, split: Split, target_total: float, settings: ScoreSettings
) -> dict[str, np.ndarray]:
    """A model's effects of held-out perturbations, (genes,) each, from sampled cells.

    Perturbed cells have the totals and batches of the query cells, control cells those of control
    half A, so that depth differs in the prediction as it does in the observation.
    """
    columns = model.spec.columns
    query = with_model_counts(screen[list(split.query)], model)
    labels = read_perturbations(query, columns)
    control_a = with_model_counts(screen[list(split.control_a)], model)
    control = _sampled_profile(model, control_a, target_total, settings)
    return {
        label: _sampled_profile(model, query[labels == label], target_total, settings) - control
        for label in split.held_out
    }


def _sampled_profile(
    model: FittedModel, cells: AnnData, target_total: float, settings: ScoreSettings
) -> np.ndarray:
    draws = [
        mean_profile(model.sample(cells, seed=settings.seed + i), target_total)
        for i in range(settings.n_draws)
    ]
    return np.mean(draws, axis=0)


def raw_effects(screen: AnnData, columns: Columns, genes: tuple[str, ...]) -> pd.DataFrame:
    """Effects on the mean log-normalised profile of every perturbation, (perturbations, genes)."""
    labels = read_perturbations(screen, columns)
    counts = dense_counts(screen, columns.layer, genes)
    is_control = labels == columns.control
    start = is_control if is_control.any() else np.ones(len(labels), dtype=bool)
    total = float(np.median(counts[start].sum(1)))
    profiles = log_normalise(counts, total)
    names = sorted(set(labels.tolist()) - {columns.control})
    effects = [profiles[labels == name].mean(0) - profiles[start].mean(0) for name in names]
    return pd.DataFrame(effects, index=pd.Index(names, name="perturbation"), columns=list(genes))
