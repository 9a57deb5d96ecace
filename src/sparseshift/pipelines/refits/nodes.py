"""Nodes of refits: the reported model once more, on a screen that was changed."""

from typing import Any

import pandas as pd

from sparseshift.pipelines.fitting import fit_training_cells
from sparseshift.pipelines.modelling.nodes import tabulate_effects
from sparseshift.pipelines.parameters import (
    CheckpointParameters,
    ModelParameters,
    ScreenParameters,
)


def refit_permuted(
    screen: Any,
    split: dict[str, Any],
    genes: pd.DataFrame,
    model: ModelParameters,
    parameters: ScreenParameters,
    checkpoints: CheckpointParameters,
    number: int,
) -> pd.DataFrame:
    """Effects that are found where labels are permuted, and one effect is implanted."""
    from sparseshift.screens.columns import Columns
    from sparseshift.screens.null_screen import null_screen

    columns = Columns(**parameters.columns.model_dump())
    null = null_screen(screen, columns, seed=number)
    return tabulate_effects(_refit(null, columns, split, genes, model, checkpoints, number))


def refit_control_guides(
    screen: Any,
    split: dict[str, Any],
    genes: pd.DataFrame,
    model: ModelParameters,
    parameters: ScreenParameters,
    checkpoints: CheckpointParameters,
) -> pd.DataFrame:
    """Effects of control guides that are taken for perturbations; no rows where there is no power."""
    from sparseshift.screens.columns import Columns
    from sparseshift.screens.control_guides import with_control_guides

    columns = Columns(**parameters.columns.model_dump())
    changed, names = with_control_guides(
        screen,
        columns,
        str(parameters.guide),
        min_cells=parameters.filters.min_cells_per_perturbation,
        seed=0,
    )
    if not names:
        empty = ["perturbation", "latent", "inclusion_probability", "effect"]
        return pd.DataFrame({column: [] for column in empty})
    effects = tabulate_effects(_refit(changed, columns, split, genes, model, checkpoints, 0))
    return effects[effects["perturbation"].isin(names)].reset_index(drop=True)


def refit_half(
    screen: Any,
    split: dict[str, Any],
    genes: pd.DataFrame,
    model: ModelParameters,
    parameters: ScreenParameters,
    checkpoints: CheckpointParameters,
    number: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Effects that are found in half of the cells, and the latents of all cells."""
    from sparseshift.evaluation.half_samples import half_samples
    from sparseshift.pipelines.modelling.nodes import embed_cells
    from sparseshift.screens.cells import read_perturbations
    from sparseshift.screens.columns import Columns

    columns = Columns(**parameters.columns.model_dump())
    pair, half = divmod(number, 2)
    halves = half_samples(read_perturbations(screen, columns), pair + 1, seed=0)
    rows = halves[pair][half]
    fitted = _refit(screen[rows].copy(), columns, split, genes, model, checkpoints, number)
    return tabulate_effects(fitted), embed_cells(fitted, screen)


def _refit(
    screen: Any,
    columns: Any,
    split: dict[str, Any],
    genes: pd.DataFrame,
    model: ModelParameters,
    checkpoints: CheckpointParameters,
    seed: int,
) -> Any:
    chosen = genes.index[genes["chosen"]].tolist()
    return fit_training_cells(
        screen, columns, split, chosen, model.fit_settings(), checkpoints, seed
    )
