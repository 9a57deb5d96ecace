"""The log likelihood of the same query cells without a latent variable: `models.nb_baseline`, as tables.

An exact log likelihood, so that there are no particles in its name: nll_macro is to be compared with the
models' inll_macro_kK, which is an upper bound of their negative log likelihood.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from torch import Tensor

from sparseshift.data.design import Design
from sparseshift.data.nested_supports import NestedSupports
from sparseshift.data.splits import Split
from sparseshift.evaluation.intervals import hierarchical_bootstrap, macro_mean, micro_mean
from sparseshift.models.nb_baseline import (
    IndependentGenes,
    PooledCells,
    fit_independent_genes,
    pool,
    support_proportion,
)
from sparseshift.scoring.n_shot import curve
from sparseshift.scoring.settings import ScoreSettings
from sparseshift.scoring.tidy import QUERY, RunKey
from sparseshift.screens.cells import (
    dense_counts,
    read_perturbations,
    to_cells,
    training_screen,
    with_counts,
)
from sparseshift.screens.columns import Columns

NB_BASELINES = ("nb_perturbed_mean", "nb_support", "nb_support_shrunk")


@dataclass(frozen=True)
class FittedNB:
    """Independent genes fitted to the training cells of a split, and the names of what they were fitted to.

    Attributes:
        independent: the fit.
        genes: var_names, in the order of the fit.
        columns: of the screen.
        split: whose cells were trained on.
    """

    independent: IndependentGenes
    genes: tuple[str, ...]
    columns: Columns
    split: Split

    def counts(self, cells: AnnData) -> Tensor:
        """Counts in the fit's genes, (cells, genes) float32."""
        return torch.from_numpy(dense_counts(cells, self.columns.layer, self.genes))

    def proportions(self, support: PooledCells) -> dict[str, Tensor]:
        """What each baseline predicts from these support cells, (genes,)."""
        return {
            "nb_perturbed_mean": self.independent.mean,
            "nb_support": support_proportion(support),
            "nb_support_shrunk": self.independent.shrunk(support),
        }


def fit_nb(screen: AnnData, columns: Columns, split: Split, genes: tuple[str, ...]) -> FittedNB:
    """Fits independent genes to the training cells of a split."""
    training = training_screen(screen, columns, split, genes)
    labels = read_perturbations(training, columns).tolist()
    design = Design.of_labels(labels, columns.control, additive=False)
    cells, _ = to_cells(training, columns, genes, design, ())
    perturbed = cells.design.any(1)  # the control's row is zero
    return FittedNB(fit_independent_genes(cells, perturbed), genes, columns, split)


def score_nb_cells(fitted: FittedNB, screen: AnnData) -> dict[str, pd.DataFrame]:
    """For each baseline the log likelihood of every query cell: cell, perturbation, log_likelihood (nats).

    The support of a held-out perturbation are its support cells; that of one that was trained, of which
    random cells are held out, its training cells.
    """
    split, columns, genes = fitted.split, fitted.columns, list(fitted.genes)
    empty = pd.DataFrame({"cell": [], "perturbation": [], "log_likelihood": []})
    if not split.query:
        return dict.fromkeys(NB_BASELINES, empty)
    counted = with_counts(screen[:, genes], columns)
    labels = read_perturbations(counted, columns)
    is_query, is_support = (counted.obs_names.isin(part) for part in (split.query, split.support))
    is_support |= split.is_training(counted.obs_names, labels)
    frames: dict[str, list[pd.DataFrame]] = {name: [] for name in NB_BASELINES}
    for label in np.unique(labels[is_query]):
        query, support = (counted[part & (labels == label)] for part in (is_query, is_support))
        log_prob = fitted.independent.log_prob_of(fitted.counts(query))
        for name, proportion in fitted.proportions(pool(fitted.counts(support))).items():
            values = {"perturbation": str(label), "log_likelihood": log_prob(proportion).numpy()}
            frames[name].append(pd.DataFrame({"cell": list(query.obs_names), **values}))
    return {name: pd.concat(parts, ignore_index=True) for name, parts in frames.items()}


def score_nb_query(
    cells: dict[str, pd.DataFrame], screen_name: str, split: str, settings: ScoreSettings
) -> pd.DataFrame:
    """Rows nll_macro and nll_micro of each baseline, adapted to all support cells.

    Args:
        cells: of `score_nb_cells`.
        screen_name: of the rows.
        split: of the rows, by name.
        settings: resamples and seed.
    """
    resample = {"n_resamples": settings.n_resamples, "seed": settings.seed}
    frames = [RunKey(screen_name, "nb_support", split, None).rows([])]
    for model, scored in cells.items():
        by_label = scored.groupby("perturbation")["log_likelihood"]
        groups = {str(label): -own.to_numpy(dtype=float) for label, own in by_label}
        if groups:
            rows = [
                (metric, QUERY, hierarchical_bootstrap(groups, mean, **resample))
                for metric, mean in (("nll_macro", macro_mean), ("nll_micro", micro_mean))
            ]
            frames.append(RunKey(screen_name, model, split, None).rows(rows))
    return pd.concat(frames[1:] or frames, ignore_index=True)


def score_nb_n_shot(
    fitted: FittedNB,
    screen: AnnData,
    supports: NestedSupports,
    screen_name: str,
    settings: ScoreSettings,
) -> pd.DataFrame:
    """Rows of `n_shot.curve` with the metric nll_macro of each baseline, on the supports of the models."""
    n_draws = dict.fromkeys(NB_BASELINES, supports.n_draws) | {"nb_perturbed_mean": 1}
    labels = supports.query_labels
    losses = {
        name: np.full((len(supports.sizes), n, len(labels)), np.nan) for name, n in n_draws.items()
    }
    for label, order in supports.order.items():
        own = np.unique(order)
        log_prob = fitted.independent.log_prob_of(fitted.counts(screen[supports.query[label]]))
        counts, place = fitted.counts(screen[own]), np.searchsorted(own, order)
        for i, size in enumerate(supports.sizes):
            if size > order.shape[1]:
                break
            for draw in range(supports.n_draws):
                found = fitted.proportions(pool(counts[place[draw, :size]]))
                for name, proportion in found.items():
                    if draw < n_draws[name]:
                        losses[name][i, draw, labels == label] = -log_prob(proportion).numpy()
    frames = [
        curve(
            loss,
            labels,
            supports,
            RunKey(screen_name, name, fitted.split.name, None),
            settings,
            "nll_macro",
        )
        for name, loss in losses.items()
    ]
    return pd.concat(frames, ignore_index=True)
