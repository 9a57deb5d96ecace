"""Predicted and observed cells of a split, as files for cell-eval."""

import numpy as np
from anndata import AnnData

from sparseshift.data.splits import Split
from sparseshift.fitted_model import FittedModel
from sparseshift.scoring.effects import ObservedEffects
from sparseshift.scoring.predictions import predict_profiles
from sparseshift.scoring.settings import ScoreSettings
from sparseshift.screens.cell_eval import to_cell_eval


def cell_eval_files(
    model: FittedModel, screen: AnnData, split: Split, settings: ScoreSettings
) -> tuple[AnnData, AnnData]:
    """Predicted and observed cells: query cells, and control half A predicted, half B observed.

    Args:
        model: adapted to the split's support cells.
        screen: all cells.
        split: whose query and control cells.
        settings: from which seed cells are sampled; one draw a cell.

    Raises:
        ScreenError: the split has no query or control cells.
    """
    columns, genes = model.spec.columns, model.spec.genes
    observed = ObservedEffects(screen, columns, split, genes)
    profiles = predict_profiles(model, screen, split, observed.target_total, settings)
    control = str(columns.control)
    half_a = profiles.controls[np.isin(profiles.control_names, split.control_a)]
    labels = np.repeat(
        [*profiles.cells, control], [*map(len, profiles.cells.values()), len(half_a)]
    )
    predicted = np.concatenate([*profiles.cells.values(), half_a])
    rows = np.concatenate([observed.rows(split.query), observed.rows(split.control_b)])
    return (
        to_cell_eval(predicted, labels.tolist(), genes, control),
        to_cell_eval(observed.profiles[rows], observed.labels[rows].tolist(), genes, control),
    )
