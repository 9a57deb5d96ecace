"""Average effects on expression, as they are observed in query cells."""

from collections.abc import Callable
from copy import copy
from dataclasses import replace

import numpy as np
import pandas as pd
from anndata import AnnData

from sparseshift.data.splits import Split
from sparseshift.evaluation.average_effects import log_normalise, pearson_r, rmse
from sparseshift.evaluation.intervals import Interval, bootstrap_mean
from sparseshift.scoring.settings import ScoreSettings
from sparseshift.screens.cells import dense_counts, read_perturbations
from sparseshift.screens.columns import Columns, gene_symbols


class ObservedEffects:
    """Effects on mean expression of the perturbations of a split's query cells.

    Profiles are log-normalised to the median total of the training control cells. Observations
    start from control half B, predictions from half A.

    Attributes:
        split: whose halves these are.
        labels: (cells,) of the screen.
        profiles: log-normalised, (cells, genes) float32.
        counted: (cells,) bool, those with a count in these genes.
        target_total: counts to which profiles are scaled.
        symbols: of the genes, (genes,).
        reference: mean profile of control half B, (genes,).
        effects: label to query mean less that reference, (genes,).
    """

    def __init__(
        self, screen: AnnData, columns: Columns, split: Split, genes: tuple[str, ...]
    ) -> None:
        self.labels = read_perturbations(screen, columns)
        counts = dense_counts(screen, columns.layer, genes)
        self.position = pd.Series(np.arange(screen.n_obs), index=screen.obs_names)
        self.split = split
        self.symbols = tuple(gene_symbols(screen.var.loc[list(genes)], columns))
        totals = counts.sum(1)
        self.counted = totals > 0
        controls = self.rows(split.control_a + split.control_b)
        self.target_total = float(np.median(totals[controls]))
        self.profiles = log_normalise(counts, self.target_total)
        self._observe()

    def _observe(self) -> None:
        self.reference = self.profile(self.rows(self.split.control_b))
        query = self.rows(self.split.query)
        self.effects = {
            str(label): self.profile(query[self.labels[query] == label]) - self.reference
            for label in np.unique(self.labels[query])
        }

    def halves(self, n: int, seed: int) -> list["ObservedEffects"]:
        """The same cells against other halves of the control, n in all; the first is this one."""
        rng = np.random.default_rng(seed)
        controls = np.array(self.split.control_a + self.split.control_b)
        controls = np.sort(controls[self.counted[self.position.loc[controls]]])
        others = [self]
        for _ in range(n - 1):
            drawn = rng.permutation(controls).tolist()
            half = len(drawn) // 2
            other = copy(self)
            other.split = replace(
                self.split,
                control_a=tuple(sorted(drawn[:half])),
                control_b=tuple(sorted(drawn[half:])),
            )
            other._observe()
            others.append(other)
        return others

    @property
    def is_training(self) -> np.ndarray:
        """Which cells are trained on, (cells,) bool."""
        return self.split.is_training(self.position.index.tolist(), self.labels)

    def rows(self, cells: tuple[str, ...]) -> np.ndarray:
        """Row numbers of cells by name; those without a count in these genes are left out."""
        rows = self.position.loc[list(cells)].to_numpy()
        return rows[self.counted[rows]]

    def profile(self, rows: np.ndarray) -> np.ndarray:
        """Mean log-normalised profile of some cells, (genes,)."""
        # in double: sums in another order must not differ by what could pass for an effect
        return self.profiles[rows].mean(axis=0, dtype=np.float64)

    def score(self, predicted: dict[str, np.ndarray], settings: ScoreSettings) -> Interval:
        """Mean over the scored perturbations of the correlation of effects over genes."""
        return self._mean(pearson_r, predicted, settings)

    def error(self, predicted: dict[str, np.ndarray], settings: ScoreSettings) -> Interval:
        """Mean over the scored perturbations of the root mean squared error over genes."""
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
