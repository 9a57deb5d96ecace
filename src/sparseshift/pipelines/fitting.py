"""Fitting a model to the training cells of a split, as every pipeline does it."""

from pathlib import Path
from typing import Any

from sparseshift.pipelines.parameters import CheckpointParameters


def fit_training_cells(
    screen: Any,
    columns: Any,
    split: dict[str, Any],
    genes: list[str],
    settings: dict[str, Any],
    checkpoints: CheckpointParameters,
    seed: int,
) -> Any:
    """The fitted model. After a crash it goes on from its last epoch; a finished one is not trained again.

    Args:
        screen: AnnData of all cells.
        columns: of the screen (`screens.columns.Columns`).
        split: content of the split file.
        genes: that the model sees.
        settings: keywords of `sparseshift.fit`.
        checkpoints: where states are kept.
        seed: of the fit.
    """
    from sparseshift.api import fit
    from sparseshift.data.splits import Split
    from sparseshift.screens.cells import training_screen

    return fit(
        training_screen(screen, columns, Split.from_json(split), genes),
        perturbation=columns.perturbation,
        control=columns.control,
        batch=columns.batch,
        layer=columns.layer,
        seed=seed,
        checkpoints=state_folder(checkpoints),
        **settings,
    )


def state_folder(checkpoints: CheckpointParameters) -> Path | None:
    """Where states of what takes long are kept, or None; those long unused are removed first."""
    from kedro.utils import find_kedro_project

    from sparseshift.training.prune import prune

    if checkpoints.folder is None:
        return None
    folder = (find_kedro_project(Path.cwd()) or Path.cwd()) / checkpoints.folder
    prune(folder, checkpoints.keep_days)
    return folder
