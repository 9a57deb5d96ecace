"""A simulated screen made ready for a study: what is trained on, held out, and kept unseen."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sparseshift.data.splits import Split, make_split
from sparseshift.screens.cells import read_perturbations
from sparseshift.screens.columns import Columns
from sparseshift.screens.simulated import CONTROL

if TYPE_CHECKING:
    from anndata import AnnData


class StudyScreen(NamedTuple):
    """Parts of a simulated screen.

    Attributes:
        screen: all cells but the unseen ones.
        unseen: cells of trained perturbations that no fit sees.
        split: of `screen`: the last perturbations are held out.
    """

    screen: AnnData
    unseen: AnnData
    split: Split


def simulated_columns(adata: AnnData, *, batch: bool = False) -> Columns:
    """The columns of `sparseshift.simulate`; a control only if there are such cells."""
    has_control = bool((adata.obs["perturbation"] == CONTROL).any())
    return Columns("perturbation", CONTROL if has_control else None, "batch" if batch else None)


def study_screen(
    adata: AnnData,
    *,
    held_out_fraction: float,
    unseen_fraction: float,
    permute_labels: bool,
    seed: int,
) -> StudyScreen:
    """Divides a simulated screen.

    Args:
        adata: of `sparseshift.simulate`.
        held_out_fraction: of the perturbations, the last ones, rounded.
        unseen_fraction: of the cells of each other label but the control's, rounded.
        permute_labels: cells keep their counts and exchange labels; no perturbation has a target then.
        seed: of the draws of cells.
    """
    rng = np.random.default_rng(seed)
    adata = adata.copy()
    if permute_labels:
        adata.obs["perturbation"] = rng.permutation(adata.obs["perturbation"].to_numpy())
        adata.uns["shifts"] = np.zeros_like(adata.uns["shifts"])
    columns = simulated_columns(adata)
    labels = read_perturbations(adata, columns)
    names = np.asarray(adata.uns["perturbations"]).astype(str)
    held_out = names[len(names) - round(held_out_fraction * len(names)) :].tolist()
    unseen = np.zeros(adata.n_obs, bool)
    for label in sorted(set(labels.tolist()) - {*held_out, columns.control}):
        members = rng.permutation(np.flatnonzero(labels == label))
        unseen[members[: round(unseen_fraction * len(members))]] = True
    screen = adata[~unseen].copy()
    split = make_split(
        list(screen.obs_names),
        labels[~unseen],
        columns.control,
        name="study",
        held_out=held_out,
        seed=seed,
    )
    return StudyScreen(screen, adata[unseen].copy(), split)
