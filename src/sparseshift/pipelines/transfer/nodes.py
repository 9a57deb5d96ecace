"""Nodes of transfer: how models do on perturbations they never saw, beside baselines and each other."""

import logging
from typing import Any

import pandas as pd

from sparseshift.pipelines.parameters import EvaluationParameters, ScreenParameters

logger = logging.getLogger(__name__)


def score_independent_genes(
    screen: Any,
    split: dict[str, Any],
    genes: pd.DataFrame,
    parameters: ScreenParameters,
    evaluation: EvaluationParameters,
    name: str,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Likelihood of query cells where genes are independent: of each cell, tidy metrics, n-shot curve."""
    from sparseshift import scoring
    from sparseshift.data.splits import Split
    from sparseshift.screens.columns import Columns

    cells, settings = Split.from_json(split), scoring.ScoreSettings(**evaluation.score_settings())
    columns = Columns(**parameters.columns.model_dump())
    chosen = tuple(genes.index[genes["chosen"]].tolist())
    empty = scoring.RunKey(name, "nb_support", cells.name, None).rows([])
    if not cells.query:
        return pd.DataFrame({"model": [], "cell": [], "log_likelihood": []}), empty, empty
    fitted = scoring.fit_nb(screen, columns, cells, chosen)
    tables = scoring.score_nb_cells(fitted, screen)
    scores = pd.concat([t.assign(model=model) for model, t in tables.items()], ignore_index=True)
    metrics = scoring.score_nb_query(tables, name, cells.name, settings)
    if not (evaluation.n_shot and cells.support):
        return scores, metrics, empty
    n_shot = scoring.NShotSettings(**evaluation.n_shot_settings())
    supports = scoring.nested_supports(screen, columns, cells, chosen, n_shot, settings.seed)
    for impossible in supports.impossible:
        logger.warning("n-shot curve of %s, split %s: %s", name, cells.name, impossible)
    return scores, metrics, scoring.score_nb_n_shot(fitted, screen, supports, name, settings)


def score_n_shot_baselines(
    screen: Any,
    split: dict[str, Any],
    genes: pd.DataFrame,
    parameters: ScreenParameters,
    evaluation: EvaluationParameters,
    name: str,
) -> pd.DataFrame:
    """Effects predicted from a few support cells without a model."""
    from sparseshift import scoring
    from sparseshift.data.splits import Split
    from sparseshift.screens.columns import Columns

    cells, settings = Split.from_json(split), scoring.ScoreSettings(**evaluation.score_settings())
    columns = Columns(**parameters.columns.model_dump())
    chosen = tuple(genes.index[genes["chosen"]].tolist())
    if not (cells.query and cells.support and evaluation.n_shot):
        return scoring.RunKey(name, "support_mean", cells.name, None).rows([])
    n_shot = scoring.NShotSettings(**evaluation.n_shot_settings())
    supports = scoring.nested_supports(screen, columns, cells, chosen, n_shot, settings.seed)
    return scoring.score_n_shot_baselines(
        screen, columns, cells, chosen, supports, name, settings, n_shot
    )


def score_n_shot(
    model: Any,
    adapted: Any,
    screen: Any,
    split: dict[str, Any],
    evaluation: EvaluationParameters,
    key: dict[str, Any],
    sparse: bool,
) -> pd.DataFrame:
    """I-NLL and effects after adapting to a few cells, and the bound as the number of particles grows."""
    from sparseshift import scoring
    from sparseshift.data.splits import Split

    run, cells = scoring.RunKey(**key), Split.from_json(split)
    settings = scoring.ScoreSettings(**evaluation.score_settings())
    n_shot = scoring.NShotSettings(**evaluation.n_shot_settings(), sparse=sparse)
    tables = [scoring.particle_convergence(adapted, screen, cells, run, settings)]
    wanted = bool(cells.query and cells.support and evaluation.n_shot)
    reason = scoring.why_no_curve(model, n_shot)
    if wanted and reason is not None:
        logger.warning("No n-shot curve of %s: %s", run.model, reason)
    elif wanted:
        columns, genes = model.spec.columns, model.spec.genes
        supports = scoring.nested_supports(screen, columns, cells, genes, n_shot, settings.seed)
        tables.append(scoring.score_n_shot(model, screen, supports, run, settings, n_shot))
        tables.append(
            scoring.score_n_shot_effects(model, screen, cells, supports, run, settings, n_shot)
        )
    filled = [table for table in tables if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else run.rows([])


def score_as_paper(
    model: Any,
    screen: Any,
    split: dict[str, Any],
    evaluation: EvaluationParameters,
    key: dict[str, Any],
) -> pd.DataFrame:
    """I-NLL as the paper scored it, on the cells that were adapted to."""
    from sparseshift import scoring
    from sparseshift.data.splits import Split

    settings = scoring.ScoreSettings(**evaluation.score_settings())
    run = scoring.RunKey(**key)
    return scoring.score_as_paper(model, screen, Split.from_json(split), run, settings)


def compare_models(
    evaluation: EvaluationParameters,
    baseline_predictions: pd.DataFrame,
    nb_scores: pd.DataFrame,
    *tables: pd.DataFrame,
    keys: list[dict[str, Any]],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Paired differences between the models of a split, and where they lie between floor and ceiling.

    `tables` are the cell scores of all fits, then the predictions of all fits.
    """
    from sparseshift import scoring

    settings = scoring.ScoreSettings(**evaluation.score_settings())
    n = len(keys)
    fits = [
        (scoring.RunKey(**key), cells, predictions)
        for key, cells, predictions in zip(keys, tables[:n], tables[n:], strict=True)
    ]
    return scoring.compare_fits(fits, baseline_predictions, nb_scores, settings)


def cross_fit(
    evaluation: EvaluationParameters,
    *tables: pd.DataFrame,
    keys: list[dict[str, Any]],
    folds: list[str],
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Metrics, differences and ceilings over folds, in which each perturbation is held out once.

    `tables` are the baselines' predictions of all folds, their likelihoods, the cell scores of all fits,
    then their predictions.
    """
    from sparseshift import scoring

    settings = scoring.ScoreSettings(**evaluation.score_settings())
    n, n_folds = len(keys), len(folds)
    runs = [scoring.RunKey(**key) for key in keys]
    of_fits = tables[2 * n_folds :]
    parts = zip(runs, of_fits[:n], of_fits[n:], strict=True)
    fits = scoring.join_folds(list(parts))
    baselines = pd.concat(tables[:n_folds], ignore_index=True)
    nb_scores = pd.concat(tables[n_folds : 2 * n_folds], ignore_index=True)
    screen = runs[0].screen
    rows = [scoring.score_query(cells, table, run, settings) for run, cells, table in fits]
    rows.append(scoring.score_baselines(baselines, screen, scoring.CROSS_FIT, settings))
    tables_nb = {str(model): own for model, own in nb_scores.groupby("model")}
    rows.append(scoring.score_nb_query(tables_nb, screen, scoring.CROSS_FIT, settings))
    filled = [table for table in rows if len(table)]
    metrics = pd.concat(filled, ignore_index=True) if filled else rows[0]
    return metrics, *scoring.compare_fits(fits, baselines, nb_scores, settings)
