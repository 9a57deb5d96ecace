"""How well effects are predicted, perturbation by perturbation, in several ways."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from sparseshift.evaluation.average_effects import pearson_r
from sparseshift.evaluation.de_overlap import direction_agreement, overlap_at_k
from sparseshift.evaluation.delta_against_mean import delta_against_mean
from sparseshift.evaluation.differential_expression import differential_expression
from sparseshift.evaluation.discrimination import centroid_accuracy, discrimination
from sparseshift.evaluation.effect_errors import mae, mse
from sparseshift.evaluation.energy_distance import energy_distance
from sparseshift.evaluation.gene_sets import perturbed_genes, top_genes
from sparseshift.evaluation.intervals import Interval, bootstrap_mean
from sparseshift.scoring.effects import ObservedEffects
from sparseshift.scoring.settings import ScoreSettings

# metric: whether higher is better
METRICS = {
    "ate_pearson_r": True,
    "ate_rmse": False,
    "ate_mae": False,
    "ate_pearson_r_no_targets": True,
    "ate_pearson_r_top20": True,
    "ate_pearson_r_top50": True,
    "ate_delta_r": True,
    "discrimination": True,
    "centroid_accuracy": True,
    "de_overlap_50": True,
    "de_direction": True,
    "energy_distance": False,
}
SIGNIFICANT = 0.05  # false discovery rate
_MOST_CELLS = 500  # of an energy distance, which takes all pairs

Effects = Mapping[str, np.ndarray]


class PredictionTask:
    """What predictions of a split are compared with.

    Args:
        observed: of the split.
        control: the control's label.
        n_halves: how many times the control is halved anew; scores are averaged.
        seed: of the halves.
    """

    def __init__(
        self, observed: ObservedEffects, control: str | None, n_halves: int, seed: int
    ) -> None:
        self.observed = observed
        self.halves = observed.halves(n_halves, seed)
        self.names = sorted(observed.effects)
        training = observed.is_training & observed.counted
        trained = sorted(set(observed.labels[training].tolist()) - {control})
        self.trained = np.array(
            [observed.profile(np.flatnonzero(training & (observed.labels == t))) for t in trained]
        ).reshape(len(trained), -1)
        self.not_targets = ~perturbed_genes(self.names, observed.symbols)
        query = observed.rows(observed.split.query)
        self.query = {name: query[observed.labels[query] == name] for name in self.names}
        reference = observed.profiles[observed.rows(observed.split.control_b)]
        self.significant = np.array(
            [
                differential_expression(observed.profiles[rows], reference).q_value < SIGNIFICANT
                for rows in self.query.values()
            ]
        )

    def score(
        self,
        predicted: Sequence[Effects],
        seen: Sequence[Effects],
        cells: Mapping[str, np.ndarray] | None = None,
    ) -> pd.DataFrame:
        """Scores of predictions: perturbation, metric, value; undefined ones have no row.

        Args:
            predicted: for each half, label to effect from that half's control A, (genes,).
            seen: for each half, effects in support cells, by which the genes that move most are
                chosen.
            cells: label to predicted profiles of cells, for the energy distance; None: no such score.
        """
        scores = [
            self._of_half(half, self._matrix(p), self._matrix(s))
            for half, p, s in zip(self.halves, predicted, seen, strict=True)
        ]
        table = {
            metric: np.mean([score[metric] for score in scores], axis=0) for metric in scores[0]
        }
        if cells is not None:
            table["energy_distance"] = np.array([self._energy(n, cells[n]) for n in self.names])
        rows = pd.DataFrame(table, index=pd.Index(self.names, name="perturbation"))
        long = rows.reset_index().melt("perturbation", var_name="metric")
        return long[np.isfinite(long["value"])].reset_index(drop=True)

    def _matrix(self, effects: Effects) -> np.ndarray:
        return np.array([effects[name] for name in self.names], dtype=np.float64)

    def _of_half(
        self, half: ObservedEffects, predicted: np.ndarray, seen: np.ndarray
    ) -> dict[str, np.ndarray]:
        observed = self._matrix(half.effects)
        start_a = half.profile(half.rows(half.split.control_a))
        start_b = half.profile(half.rows(half.split.control_b))
        mean = self.trained.mean(axis=0) if len(self.trained) else np.zeros(observed.shape[1])
        no_targets = np.asarray(self.not_targets.all(axis=0))
        top = {n: top_genes(seen, n, self.not_targets) for n in (20, 50)}
        return {
            "ate_pearson_r": _correlation(predicted, observed),
            "ate_rmse": np.sqrt(mse(predicted, observed)),
            "ate_mae": mae(predicted, observed),
            "ate_pearson_r_no_targets": _correlation(predicted, observed, self.not_targets),
            "ate_pearson_r_top20": _correlation(predicted, observed, top[20]),
            "ate_pearson_r_top50": _correlation(predicted, observed, top[50]),
            "ate_delta_r": delta_against_mean(predicted, observed, mean - start_a, mean - start_b),
            "discrimination": discrimination(predicted, observed, genes=no_targets),
            "centroid_accuracy": centroid_accuracy(
                predicted, observed, genes=no_targets, others=self.trained - start_b
            ),
            "de_overlap_50": overlap_at_k(predicted, observed, self.significant, 50),
            "de_direction": direction_agreement(predicted, observed, self.significant),
        }

    def _energy(self, name: str, cells: np.ndarray) -> float:
        return energy_distance(
            cells[:_MOST_CELLS], self.observed.profiles[self.query[name]][:_MOST_CELLS]
        )


def summarise_scores(scores: pd.DataFrame, settings: ScoreSettings) -> list[tuple[str, Interval]]:
    """Mean over perturbations of every metric of one model, with its bootstrap interval."""
    found = []
    for metric in METRICS:
        values = scores.loc[scores["metric"] == metric].sort_values("perturbation")["value"]
        if len(values):
            interval = bootstrap_mean(
                values.to_numpy(), n_resamples=settings.n_resamples, seed=settings.seed
            )
            found.append((metric, interval))
    return found


def _correlation(
    predicted: np.ndarray, observed: np.ndarray, genes: np.ndarray | None = None
) -> np.ndarray:
    chosen = np.ones(predicted.shape, dtype=bool) if genes is None else genes
    pairs = zip(predicted, observed, chosen, strict=True)
    return np.array([pearson_r(p[g], o[g]) if g.any() else np.nan for p, o, g in pairs])
