"""How well effects are predicted, perturbation by perturbation, in several ways."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd

from sparseshift.data.design import parts
from sparseshift.evaluation.average_effects import pearson_r, rmse
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
from sparseshift.scoring.tidy import QUERY

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
# of combinations of which no cell was seen, but every gene in training
ZERO_SHOT = {"zero_shot_pearson_r": True, "zero_shot_delta_r": True, "zero_shot_rmse": False}
# the same of those with a gene that was never trained, whose part of the effect is taken for 0
UNTRAINED = {f"{name}_untrained": higher for name, higher in ZERO_SHOT.items()}
SIGNIFICANT = 0.05  # false discovery rate
BY_KIND = ("ate_pearson_r", "ate_delta_r", *ZERO_SHOT)
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
        self.kinds = [kind_of(name, trained) for name in self.names]
        known = {part for label in trained for part in parts(label)}
        self.never_trained = {
            # where random cells are scored, the label itself was trained
            name: sorted(set(parts(name)) - known)
            for name in self.names
            if len(parts(name)) > 1 and name in observed.split.held_out
        }
        self.trained = np.array(
            [observed.profile(np.flatnonzero(training & (observed.labels == t))) for t in trained]
        ).reshape(len(trained), -1)
        self.not_targets = ~perturbed_genes(self.names, observed.symbols)
        # predictions are told apart without the targets of any: a knock-down would mark its perturbation
        self.no_targets = _perturbed_by_none(self.names, observed)
        self.no_trained_targets = _perturbed_by_none([*self.names, *trained], observed)
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
        """Scores of predictions: perturbation, kind, metric, value; undefined ones have no row.

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
        names = {"perturbation": self.names, "kind": self.kinds}
        long = pd.DataFrame(names | table).melt(list(names), var_name="metric")
        return long[np.isfinite(long["value"])].reset_index(drop=True)

    @property
    def combinations(self) -> list[str]:
        """The scored labels that combine perturbations, of which no cell was trained on."""
        return list(self.never_trained)

    def score_zero_shot(self, predicted: Sequence[Effects]) -> pd.DataFrame:
        """Scores of combinations predicted without any of their cells: perturbation, kind, metric, value.

        Those with a gene that was never trained have metrics of their own (`UNTRAINED`), and are of a kind that names it:
        nothing can be known of such a gene, so that they say nothing of a model.

        Args:
            predicted: for each half, effect of each of `combinations` from that half's control A, (genes,).
        """
        kinds = dict(zip(self.names, self.kinds, strict=True))
        rows = []
        for name, missing in self.never_trained.items():
            found = np.mean(
                [
                    main_scores(effects[name], half.effects[name], self._mean_effects(half))
                    for half, effects in zip(self.halves, predicted, strict=True)
                ],
                axis=0,
            )
            kind = f"combination, never trained: {', '.join(missing)}" if missing else kinds[name]
            metrics = UNTRAINED if missing else ZERO_SHOT
            rows += [(name, kind, metric, v) for metric, v in zip(metrics, found, strict=True)]
        table = pd.DataFrame(rows, columns=["perturbation", "kind", "metric", "value"])
        return table[np.isfinite(table["value"].astype(float))].reset_index(drop=True)

    def _mean_effects(self, half: ObservedEffects) -> tuple[np.ndarray, np.ndarray]:
        """Of the training perturbations, from either half of the control."""
        start = half.profile(half.rows(half.split.control_a))
        mean = self.trained.mean(axis=0) if len(self.trained) else np.zeros(len(start))
        return mean - start, mean - half.reference

    def _matrix(self, effects: Effects) -> np.ndarray:
        return np.array([effects[name] for name in self.names], dtype=np.float64)

    def _of_half(
        self, half: ObservedEffects, predicted: np.ndarray, seen: np.ndarray
    ) -> dict[str, np.ndarray]:
        observed = self._matrix(half.effects)
        top = {n: top_genes(seen, n, self.not_targets) for n in (20, 50)}
        return {
            "ate_pearson_r": _correlation(predicted, observed),
            "ate_rmse": np.sqrt(mse(predicted, observed)),
            "ate_mae": mae(predicted, observed),
            "ate_pearson_r_no_targets": _correlation(predicted, observed, self.not_targets),
            "ate_pearson_r_top20": _correlation(predicted, observed, top[20]),
            "ate_pearson_r_top50": _correlation(predicted, observed, top[50]),
            "ate_delta_r": delta_against_mean(predicted, observed, *self._mean_effects(half)),
            "discrimination": discrimination(predicted, observed, genes=self.no_targets),
            "centroid_accuracy": centroid_accuracy(
                predicted,
                observed,
                genes=self.no_trained_targets,
                others=self.trained - half.reference,
            ),
            "de_overlap_50": overlap_at_k(predicted, observed, self.significant, 50),
            "de_direction": direction_agreement(predicted, observed, self.significant),
        }

    def _energy(self, name: str, cells: np.ndarray) -> float:
        return energy_distance(
            cells[:_MOST_CELLS], self.observed.profiles[self.query[name]][:_MOST_CELLS]
        )


def main_scores(
    effect: np.ndarray, observed: np.ndarray, mean_effects: tuple[np.ndarray, np.ndarray]
) -> tuple[float, float, float]:
    """Pearson r, r less the mean effect, and error of one predicted effect.

    Args:
        effect: from control half A, (genes,).
        observed: from control half B, (genes,).
        mean_effects: of the training perturbations from either half, (genes,) each.
    """
    delta = delta_against_mean(effect[None], observed[None], *mean_effects)[0]
    return pearson_r(effect, observed), float(delta), rmse(effect, observed)


def summarise_scores(
    scores: pd.DataFrame, settings: ScoreSettings
) -> list[tuple[str, str, Interval]]:
    """Mean over perturbations of every metric of one model: metric, subset, bootstrap interval.

    Where combinations were scored, two metrics are given for each kind of perturbation too, since what can be
    predicted of a combination depends on how many of its singles were seen.
    """
    found = [(metric, QUERY, _mean(own, settings)) for metric, own in _by_metric(scores)]
    kinds = set(scores["kind"])
    for kind in sorted(kinds) if len(kinds) > 1 else []:
        of_kind = scores[(scores["kind"] == kind) & scores["metric"].isin(BY_KIND)]
        found += [(metric, str(kind), _mean(own, settings)) for metric, own in _by_metric(of_kind)]
    return found


def kind_of(label: str, trained: Collection[str]) -> str:
    """What a held-out label is: `single`, or a combination and how many of its singles were trained."""
    genes = parts(label)
    if len(genes) == 1:
        return "single"
    seen = sum(gene in trained for gene in genes)
    return f"combination, {seen} of {len(genes)} singles seen"


def _perturbed_by_none(labels: Sequence[str], observed: ObservedEffects) -> np.ndarray:
    """The genes that none of these labels perturbs, (genes,) bool."""
    return np.asarray(~perturbed_genes(labels, observed.symbols).any(axis=0))


def _by_metric(scores: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    every = METRICS | ZERO_SHOT | UNTRAINED
    own = [(metric, scores[scores["metric"] == metric]) for metric in every]
    return [(metric, table) for metric, table in own if len(table)]


def _mean(scores: pd.DataFrame, settings: ScoreSettings) -> Interval:
    values = scores.sort_values("perturbation")["value"].to_numpy()
    return bootstrap_mean(values, n_resamples=settings.n_resamples, seed=settings.seed)


def _correlation(
    predicted: np.ndarray, observed: np.ndarray, genes: np.ndarray | None = None
) -> np.ndarray:
    chosen = np.ones(predicted.shape, dtype=bool) if genes is None else genes
    pairs = zip(predicted, observed, chosen, strict=True)
    return np.array([pearson_r(p[g], o[g]) if g.any() else np.nan for p, o, g in pairs])
