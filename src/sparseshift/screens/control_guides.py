"""Non-targeting guides taken for perturbations: a model should find no edges for them."""

import numpy as np
from anndata import AnnData

from sparseshift.screens.cells import read_labels, read_perturbations
from sparseshift.screens.columns import Columns

PREFIX = "guide "


def with_control_guides(
    adata: AnnData, columns: Columns, guide: str, *, min_cells: int, seed: int
) -> tuple[AnnData, list[str]]:
    """The screen with half of its control guides labelled as perturbations.

    The other half stays the control. A guide needs as many cells as a perturbation of the screen; where
    fewer than two guides have them, there is no such test: no power.

    Args:
        adata: The screen; left as it is.
        columns: Its columns.
        guide: obs column with the guide of each cell.
        min_cells: Of a guide.
        seed: Of the draw of guides.

    Returns:
        The screen, and the labels of the guides that are now perturbations; none without power.
    """
    labels = read_perturbations(adata, columns).astype(object)
    guides = read_labels(adata, guide)
    is_control = labels == columns.control
    names, sizes = np.unique(guides[is_control], return_counts=True)
    large = names[sizes >= min_cells]
    chosen = np.random.default_rng(seed).permutation(large)[: len(large) // 2].tolist()
    for name in chosen:
        labels[is_control & (guides == name)] = PREFIX + name.replace("+", "plus")
    changed = adata.copy()
    changed.obs[columns.perturbation] = labels.astype(str)
    return changed, [PREFIX + name.replace("+", "plus") for name in sorted(chosen)]
