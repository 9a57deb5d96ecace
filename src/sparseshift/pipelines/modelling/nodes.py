"""Nodes of modelling: each calls one function of the library."""

from typing import Any

import pandas as pd

from sparseshift.pipelines.fitting import fit_training_cells
from sparseshift.pipelines.parameters import (
    CheckpointParameters,
    EvaluationParameters,
    ModelParameters,
    ScreenParameters,
)


def fit_model(
    screen: Any,
    split: dict[str, Any],
    genes: pd.DataFrame,
    model: ModelParameters,
    parameters: ScreenParameters,
    checkpoints: CheckpointParameters,
    seed: int,
) -> tuple[Any, pd.DataFrame]:
    """A model fitted to the training cells of a split, and its training history.

    After a crash the same fit goes on from its last epoch; a finished one is not trained again.
    """
    from sparseshift.screens.columns import Columns

    fitted = fit_training_cells(
        screen,
        Columns(**parameters.columns.model_dump()),
        split,
        genes.index[genes["chosen"]].tolist(),
        model.fit_settings(),
        checkpoints,
        seed,
    )
    return fitted, fitted.history


def embed_cells(adapted: Any, screen: Any) -> pd.DataFrame:
    """Posterior means of the latents of all cells with counts, (cells, latents).

    Of the adapted model, because some encoders see the perturbation; the others give what they
    gave before.
    """
    from sparseshift.scoring import with_model_counts

    screen = with_model_counts(screen, adapted)
    names = [f"z{j}" for j in range(adapted.spec.n_latents)]
    return pd.DataFrame(adapted.latents(screen), index=screen.obs_names, columns=names)


def collect_latents(screen: Any, *latents: pd.DataFrame, keys: list[dict[str, Any]]) -> Any:
    """The screen with the latents of every fit in obsm."""
    from sparseshift.scoring import with_latents

    names = [f"X_{key['model']}_{key['split']}_seed_{key['seed']}" for key in keys]
    return with_latents(screen, dict(zip(names, latents, strict=True)))


def tabulate_effects(model: Any) -> pd.DataFrame:
    """Effects and inclusion probabilities of the trained perturbations, long."""
    inclusion = model.inclusion_probability().stack().rename("inclusion_probability")
    effects = model.effects().stack().rename("effect")
    return (
        pd.concat([inclusion, effects], axis=1)
        .rename_axis(["perturbation", "latent"])
        .reset_index()
    )


def adapt_model(model: Any, screen: Any, split: dict[str, Any], sparse: bool) -> Any:
    """The model with the held-out perturbations placed by their support cells."""
    from sparseshift.scoring import with_model_counts

    support = with_model_counts(screen[split["support"]], model)
    return model.adapt(support, sparse=True) if sparse else model.adapt(support)


def score_cells(
    adapted: Any, screen: Any, split: dict[str, Any], evaluation: EvaluationParameters
) -> pd.DataFrame:
    """The log-likelihood bound of every query cell."""
    from sparseshift import scoring
    from sparseshift.data.splits import Split

    settings = scoring.ScoreSettings(**evaluation.score_settings())
    return scoring.score_cells(adapted, screen, Split.from_json(split), settings)


def score_predictions(
    model: Any,
    adapted: Any,
    cell_scores: pd.DataFrame,
    screen: Any,
    split: dict[str, Any],
    evaluation: EvaluationParameters,
) -> pd.DataFrame:
    """How well the effect of each held-out perturbation is predicted, in several ways."""
    from sparseshift import scoring
    from sparseshift.data.splits import Split

    settings = scoring.ScoreSettings(**evaluation.score_settings())
    return scoring.score_model_predictions(
        model, adapted, cell_scores, screen, Split.from_json(split), settings
    )


def export_cell_eval(
    adapted: Any, screen: Any, split: dict[str, Any], evaluation: EvaluationParameters
) -> tuple[Any, Any]:
    """Predicted and observed cells in the format of cell-eval."""
    from sparseshift import scoring
    from sparseshift.data.splits import Split

    settings = scoring.ScoreSettings(**evaluation.score_settings())
    return scoring.cell_eval_files(adapted, screen, Split.from_json(split), settings)


def score_model(
    adapted: Any,
    cell_scores: pd.DataFrame,
    predictions: pd.DataFrame,
    screen: Any,
    split: dict[str, Any],
    evaluation: EvaluationParameters,
    key: dict[str, Any],
) -> pd.DataFrame:
    """Tidy metrics of a fit."""
    from sparseshift import scoring
    from sparseshift.data.splits import Split

    run, cells = scoring.RunKey(**key), Split.from_json(split)
    settings = scoring.ScoreSettings(**evaluation.score_settings())
    tables = [
        scoring.score_training(adapted, run),
        scoring.score_query(cell_scores, predictions, run, settings),
        scoring.score_recovery(adapted, screen, cells, run),
    ]
    return pd.concat([table for table in tables if len(table)], ignore_index=True)


def score_baselines(
    screen: Any,
    split: dict[str, Any],
    genes: pd.DataFrame,
    parameters: ScreenParameters,
    evaluation: EvaluationParameters,
    name: str,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The simple predictors on the same query cells: of each perturbation, and tidy metrics."""
    from sparseshift import scoring
    from sparseshift.data.splits import Split
    from sparseshift.screens.columns import Columns

    cells = Split.from_json(split)
    settings = scoring.ScoreSettings(**evaluation.score_settings())
    predictions = scoring.score_baseline_predictions(
        screen,
        Columns(**parameters.columns.model_dump()),
        cells,
        tuple(genes.index[genes["chosen"]].tolist()),
        settings,
    )
    return predictions, scoring.score_baselines(predictions, name, cells.name, settings)
