"""Which column of obs is the batch: one with a usual name, with enough cells in a batch, not the perturbation again."""

import numpy as np
import pandas as pd

from sparseshift.screens.faults import some

# The surest first.
NAMES = (
    "batch", "batch_var", "gem_group", "gemgroup", "bio_rep", "replicate", "lane", "channel",
    "donor_id", "donor", "library", "library_id", "library_uuid", "sample", "sample_id", "run",
    "plate", "orig.ident",
)  # fmt: skip
LEAST_CELLS = 50  # of a batch, on average: its decoder has to be learnt
ALONE = 0.5  # of the perturbations may lie in one batch each


def find_batch(obs: pd.DataFrame, labels: pd.Series) -> tuple[str | None, str]:
    """The batch column, if there is one, and why it is or why others are not.

    Args:
        obs: Of the file.
        labels: (cells,) what was done to each cell.
    """
    by_name = {str(column).casefold(): str(column) for column in obs.columns}
    passed_over = []
    for name in NAMES:
        column = by_name.get(name)
        if column is None or column == labels.name:
            continue
        n_batches = obs[column].nunique()
        if n_batches < 2 and name != "batch":
            continue
        if len(obs) < LEAST_CELLS * n_batches:
            few = f"{len(obs) / n_batches:.0f} cells in each of {n_batches:,}"
            passed_over.append(f"obs[{column!r}] has {few}, too few for a batch")
        elif n_batches > 1 and _alone(obs[column], labels) > ALONE:
            passed_over.append(f"most perturbations lie in one value of obs[{column!r}] only")
        else:
            batches = "1 batch" if n_batches == 1 else f"{n_batches:,} batches"
            return column, f"obs[{column!r}] is a usual name of the batch, and has {batches}"
    return None, "; ".join(["no column is taken as the batch", *passed_over])


def _alone(batches: pd.Series, labels: pd.Series) -> float:
    """Share of the labels, with three cells or more, that one batch has alone."""
    pairs = pd.DataFrame({"label": labels.to_numpy(), "batch": batches.to_numpy()})
    spread = pairs.groupby("label", observed=True)["batch"].agg(["size", "nunique"])
    counted = spread[spread["size"] >= 3]
    return float(np.mean(counted["nunique"] == 1)) if len(counted) else 0.0


def find_covariates(obs: pd.DataFrame, used: set[str | None]) -> list[str]:
    """What else differs between cells and no model is told of: notes for a person."""
    notes = []
    by_name = {str(column).casefold(): str(column) for column in obs.columns}
    for name in (
        "cell_type",
        "celltype",
        "cell_line",
        "perturbation_2",
        "stimulation",
        "treatment",
    ):
        column = by_name.get(name)
        if column is None or column in used or not 1 < obs[column].nunique() <= 50:
            continue
        values = some(obs[column].dropna().astype(str).unique(), 3)
        notes.append(
            f"obs[{column!r}] has several values ({values}), and models are not told of it. For one of "
            f"them alone leave the others out: cut.drop: {{{column}: [...]}}."
        )
    for name in ("dose_val", "dose", "dose_value"):
        column = by_name.get(name)
        if column is not None and obs[column].astype(str).str.split("+").explode().nunique() > 2:
            notes.append(
                f"obs[{column!r}] has several doses: a label is one perturbation whatever its dose."
            )
    return notes
