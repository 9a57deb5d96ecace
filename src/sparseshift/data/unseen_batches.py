"""Cells of a batch without training cells can be neither adapted to nor scored: a decoder knows nothing of it."""

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sparseshift.data.splits import Split

logger = logging.getLogger(__name__)


def leave_out_unseen_batches(
    split: Split, cells: Sequence[str], labels: np.ndarray, batches: np.ndarray
) -> Split:
    """The split without the support and query cells of batches that no training cell is in.

    What is left out is named in a warning, and the perturbations that this leaves nothing of to score. All else
    is scored as before.

    Args:
        split: of the cells.
        cells: names of all cells.
        labels: of the cells, (cells,).
        batches: of the cells, (cells,).
    """
    names = np.asarray(cells, dtype=str)
    known = np.unique(batches[split.is_training(cells, labels)])
    unseen = set(names[~np.isin(batches, known)].tolist())
    lost = [cell for cell in (*split.support, *split.query) if cell in unseen]
    if not lost:
        return split
    left = replace(
        split,
        support=tuple(cell for cell in split.support if cell not in unseen),
        query=tuple(cell for cell in split.query if cell not in unseen),
    )
    label_of = dict(zip(names.tolist(), np.asarray(labels, dtype=str).tolist(), strict=True))
    able = [{label_of[cell] for cell in part} for part in (left.support, left.query)]
    gone = sorted(set(split.held_out) - (able[0] & able[1]))
    # a query without support would be of a perturbation that models do not know
    query = tuple(cell for cell in left.query if label_of[cell] not in gone)
    of_cell = dict(zip(names.tolist(), batches.tolist(), strict=True))
    where = sorted({str(of_cell[cell]) for cell in lost})
    logger.warning(
        "Split %r: %d cells are left out of support and query, because no training cell is in their batch (%s). %s",
        split.name, len(lost), ", ".join(where[:10]) + (" ..." if len(where) > 10 else ""),
        f"Nothing can be scored of {', '.join(gone)}." if gone else "All perturbations are still scored.",
    )  # fmt: skip
    return replace(left, query=query)
