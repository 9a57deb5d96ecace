"""Nodes of a simulation study: each calls one function of the library."""

from typing import Any

import pandas as pd

from sparseshift.pipelines.fitting import fit_training_cells
from sparseshift.pipelines.parameters import (
    CheckpointParameters,
    EvaluationParameters,
    ModelParameters,
)
from sparseshift.pipelines.simulation_parameters import ConditionParameters


def simulate_screen(
    condition: ConditionParameters, data_seed: int
) -> tuple[Any, Any, dict[str, Any]]:
    """A simulated screen, the cells that no fit sees, and the split of the others."""
    from sparseshift.api import simulate
    from sparseshift.screens.study_screen import study_screen

    chosen = condition.simulate
    divided = study_screen(
        simulate(chosen.name, seed=data_seed, **chosen.settings),
        held_out_fraction=condition.held_out_fraction,
        unseen_fraction=condition.unseen_fraction,
        permute_labels=condition.permute_labels,
        seed=data_seed,
    )
    return divided.screen, divided.unseen, divided.split.to_json()


def fit_model(
    screen: Any,
    split: dict[str, Any],
    condition: ConditionParameters,
    model: ModelParameters,
    checkpoints: CheckpointParameters,
    seed: int,
) -> tuple[Any, pd.DataFrame]:
    """A model fitted to the training cells, and its history; one that was finished is not trained again."""
    from sparseshift.screens.study_screen import simulated_columns

    settings = model.fit_settings()
    if condition.n_latents is not None:
        settings["n_latents"] = condition.n_latents
    columns = simulated_columns(screen, batch=condition.batch)
    genes = list(screen.var_names)
    fitted = fit_training_cells(screen, columns, split, genes, settings, checkpoints, seed)
    return fitted, fitted.history


def score_model(
    model: Any,
    screen: Any,
    unseen: Any,
    split: dict[str, Any],
    evaluation: EvaluationParameters,
    key: dict[str, Any],
) -> pd.DataFrame:
    """Tidy metrics of a fit: recovery, held-out perturbations, cost."""
    from sparseshift import scoring
    from sparseshift.data.splits import Split

    settings = scoring.ScoreSettings(**evaluation.score_settings())
    return scoring.score_simulated_fit(
        model, screen, unseen, Split.from_json(split), scoring.RunKey(**key), settings
    )


def score_stability(
    screen: Any, split: dict[str, Any], *models: Any, key: dict[str, Any], seeds: list[int]
) -> pd.DataFrame:
    """Whether the fits of several seeds agree, as tidy rows."""
    from sparseshift import scoring
    from sparseshift.data.splits import Split

    keys = [scoring.RunKey(**key, seed=seed) for seed in seeds]
    return scoring.score_stability(list(models), screen, Split.from_json(split), keys)


def collect(*tables: pd.DataFrame, cells: list[dict[str, Any]]) -> pd.DataFrame:
    """Metrics of all fits, with condition and data seed in place of screen and split."""
    named = [
        table.drop(columns=["screen", "split"]).assign(**cell)
        for table, cell in zip(tables, cells, strict=True)
    ]
    whole = pd.concat(named, ignore_index=True)
    first = list(cells[0])
    return whole[[*first, *whole.columns.drop(first)]]


def summarise(
    metrics: pd.DataFrame, published: pd.DataFrame, settings: dict[str, str]
) -> pd.DataFrame:
    """Means over data seeds with intervals, published numbers beside."""
    from sparseshift.scoring import beside_published, summarise_study

    return beside_published(summarise_study(metrics), published, settings)


def choose_models(metrics: pd.DataFrame, among: list[str]) -> pd.DataFrame:
    """Which model each criterion that needs no truth would choose, and what that costs."""
    from sparseshift.scoring import choose

    return choose(metrics, among)


def draw_recovery(metrics: pd.DataFrame, condition: str) -> Any:
    """MCC and F1 of every model in one condition, a point a data seed."""
    from sparseshift.plots.study import recovery_by_model

    return recovery_by_model(metrics[metrics["condition"] == condition])


def draw_graph(model: Any, screen: Any, split: dict[str, Any]) -> Any:
    """True and recovered edges of one fit."""
    from sparseshift.data.splits import Split
    from sparseshift.plots.graph_comparison import graph_comparison
    from sparseshift.scoring import compare_graphs

    return graph_comparison(*compare_graphs(model, screen, Split.from_json(split)))


def draw_stability(metrics: pd.DataFrame) -> Any:
    """Agreement of seeds against recovery: can the one stand for the other?"""
    from sparseshift.plots.study import metric_scatter

    return metric_scatter(metrics, "udr", "mcc_pearson")


def draw_cost(metrics: pd.DataFrame) -> Any:
    """CPU seconds of a fit against recovery."""
    from sparseshift.plots.study import metric_scatter

    return metric_scatter(metrics, "cpu_seconds", "mcc_pearson", log_x=True)


def write_page(
    metrics: pd.DataFrame,
    summary: pd.DataFrame,
    *parts: Any,
    figures: list[str],
    conditions: list[str],
) -> str:
    """One self-contained HTML page; after the figures may come what was chosen without the truth."""
    from sparseshift.study_report import write_study_page

    images = dict(zip(figures, parts, strict=False))
    choice = parts[len(figures)] if len(parts) > len(figures) else None
    return write_study_page(metrics, summary, images, conditions, choice)
