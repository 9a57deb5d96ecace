"""A fit of a simulated screen against the truth the screen was drawn with."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from anndata import AnnData

from sparseshift.data.splits import Split
from sparseshift.evaluation.graph_consistency import graph_consistency
from sparseshift.evaluation.graph_recovery import graph_average_precision, graph_recovery
from sparseshift.evaluation.intervals import Interval
from sparseshift.evaluation.latent_matching import (
    LatentMatching,
    match_latents,
    matched_correlation,
)
from sparseshift.evaluation.latent_regression import latent_r2
from sparseshift.fitted_model import FittedModel
from sparseshift.scoring.cells import Model, with_model_counts
from sparseshift.scoring.tidy import RunKey
from sparseshift.screens.cells import read_perturbations

TRAINED, UNSEEN, ALL = "trained", "unseen_cells", "all"


def has_truth(screen: AnnData) -> bool:
    """Whether the true latents and shifts of a screen are known (`sparseshift.simulate`)."""
    return "z" in screen.obsm and {"shifts", "perturbations"} <= set(screen.uns)


def score_recovery(
    model: Model, screen: AnnData, split: Split, key: RunKey, unseen: AnnData | None = None
) -> pd.DataFrame:
    """How well true latents and edges are recovered, as tidy rows; none without a known truth.

    Of the perturbations that were trained and their cells, control cells aside. Edges are scored
    where the model searches for them: a dense graph, found by construction, has no such rows. The rows
    `paper_*` are edges as the published code scores them; `latent_correlation` is |r| of each true
    latent with its match.

    Args:
        model: fitted to the split; adapted or not.
        screen: all cells, with obsm["z"], uns["shifts"] and uns["perturbations"].
        split: which perturbations were trained.
        key: of the rows.
        unseen: more cells of the trained perturbations, which the model has not seen, if there are;
            their latents are matched as those of the training cells are.
    """
    if not has_truth(screen):
        return key.rows([])
    labels = read_perturbations(screen, model.spec.columns)
    chosen = split.is_training(screen.obs_names, labels) & (labels != model.spec.columns.control)
    true, learnt = _latents(model, screen[chosen])
    matching = match_latents(true, learnt)
    shifted = _true_edges(screen)[_rows_of(screen, model.spec.trained)]
    found = {
        "mcc_pearson": matching.mcc,
        "mcc_spearman": match_latents(true, learnt, "spearman").mcc,
        "r2": latent_r2(true, learnt).mean,
        "r_con": graph_consistency(true, learnt, shifted, matching),
    }
    rows = [(name, TRAINED, value) for name, value in found.items()]
    rows += [
        ("latent_correlation", f"latent {j}", float(r)) for j, r in enumerate(matching.correlation)
    ]
    if unseen is not None and unseen.n_obs > 1:
        again = matched_correlation(*_latents(model, unseen), matching)
        rows.append(("mcc_pearson", UNSEEN, float(again.mean())))
    if isinstance(model, FittedModel) and model.spec.options.mask_prior != "none":
        signed = match_latents(true, learnt, signed=True)
        rows += _graph_scores(model, screen, matching) + _published(model, screen, signed)
    return key.rows([(*row, Interval(value, np.nan, np.nan)) for *row, value in rows])


def _latents(model: Model, cells: AnnData) -> tuple[np.ndarray, np.ndarray]:
    counted = with_model_counts(cells, model)
    return np.asarray(counted.obsm["z"]), model.latents(counted)


def _true_edges(screen: AnnData) -> np.ndarray:
    return np.asarray(screen.uns["shifts"]) != 0.0


def _rows_of(screen: AnnData, trained: Sequence[str]) -> np.ndarray:
    """Which rows of the true graph are of trained perturbations, in the graph's order."""
    return np.isin(np.asarray(screen.uns["perturbations"]).astype(str), list(trained))


def _graph_scores(
    model: FittedModel, screen: AnnData, matching: LatentMatching
) -> list[tuple[str, str, float]]:
    true, inclusion = _graphs(model, screen, 0.0)
    trained = inclusion.index.isin(model.spec.trained)
    true, inclusion = true[trained], inclusion[trained]
    scores = graph_recovery(true, inclusion.to_numpy() > 0.5, matching)
    found = {
        "graph_precision": scores.precision,
        "graph_recall": scores.recall,
        "graph_f1": scores.f1,
        "graph_auprc": graph_average_precision(true, inclusion.to_numpy(), matching),
        "graph_shd": float(scores.shd),
    }
    return [(name, TRAINED, value) for name, value in found.items()]


def _published(
    model: FittedModel, screen: AnnData, signed: LatentMatching
) -> list[tuple[str, str, float]]:
    """As the code of Lopez et al. (2023) scores a graph: signed match, held-out perturbations too.

    Their masks are in the table from the start: without cells a penalty in nats switches them off,
    one that is added to a mean loss leaves them on.
    """
    never_trained = 1.0 if model.spec.options.mask_prior == "l1_mean_loss" else 0.0
    true, inclusion = _graphs(model, screen, never_trained)
    scores = graph_recovery(true, inclusion.to_numpy() > 0.5, signed)
    return [
        ("paper_graph_precision", ALL, scores.precision),
        ("paper_graph_recall", ALL, scores.recall),
        ("paper_graph_f1", ALL, scores.f1),
    ]


def _graphs(
    model: FittedModel, screen: AnnData, never_trained: float
) -> tuple[np.ndarray, pd.DataFrame]:
    """True edges and inclusion probabilities of every perturbation, `never_trained` where it was not."""
    names = np.asarray(screen.uns["perturbations"]).astype(str)
    inclusion = model.inclusion_probability()
    known = inclusion.loc[inclusion.index.isin(model.spec.trained)]
    return _true_edges(screen), known.reindex(names, fill_value=never_trained)
