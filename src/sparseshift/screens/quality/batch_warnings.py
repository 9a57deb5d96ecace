"""What a reader must know of perturbations that cannot be told from their batches, in sentences."""

from typing import Any

import pandas as pd

from sparseshift.screens.faults import some
from sparseshift.screens.quality.batch_balance import batch_confounding, cells_by_batch

_NAMED = 3  # perturbations of a warning


def batch_warnings(balance: pd.DataFrame) -> list[str]:
    """A warning for each way in which perturbations are confounded with batches; none if they are not.

    Each names perturbations, batches and numbers, says what cannot be told, and what to do about it.

    Args:
        balance: Of `batch_balance`.
    """
    labels = batch_confounding(balance).labels
    is_control, cells = cells_by_batch(balance)
    control = cells[is_control].sum()
    listed = {
        str(verdict): _listed(found, len(labels), cells, control)
        for verdict, found in labels.groupby("verdict")
    }
    warnings = []
    if alone := listed.get("alone"):
        warnings.append(
            f"Perturbations that have their batches to themselves: {alone}. The effect of each cannot "
            "be told from the batch, and a model that is given the batch may take all of the effect for "
            "it. Set batch: null and read each effect as that of perturbation and batch together, or "
            "leave these perturbations out."
        )
    if without := listed.get("without control"):
        warnings.append(
            f"Perturbations without control cells in their batches: {without}. The "
            f"{control.sum():,} control cells lie in {_batches(control)}. How these perturbations "
            "differ from the control cannot be told from how the batches differ. Compare them only with "
            "perturbations of the same batches, leave them out, or, if the batches are known to be "
            "alike, set batch: null."
        )
    if unbalanced := listed.get("unbalanced"):
        warnings.append(
            f"Perturbations spread over the batches otherwise than {_reference(control)}: "
            f"{unbalanced}. Keep the batch column, for without it what the batches differ by would "
            "count as an effect, and see that an effect holds within single batches."
        )
    return warnings


def _listed(found: pd.DataFrame, n_all: int, cells: pd.DataFrame, control: pd.Series) -> str:
    """How many, and the largest with their batches."""
    largest = found.sort_values("cells", ascending=False, kind="stable").head(_NAMED)
    entries = [
        f"{row.perturbation!r} ({_where(row, cells, control)})" for row in largest.itertuples()
    ]
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return f"{len(found)} of {n_all}: {', '.join(entries)}{more}"


def _where(row: Any, cells: pd.DataFrame, control: pd.Series) -> str:
    own = cells.loc[row.perturbation]
    if row.verdict != "unbalanced":
        return f"{row.cells:,} cells in {_batches(own)}"
    other = control if control.any() else cells.sum() - own
    own, other = own / own.sum(), other / other.sum()
    most = (own - other).idxmax()
    return (
        f"{_percent(row.total_variation)} of its {row.cells:,} cells would have to be in other "
        f"batches, {_percent(row.expected_total_variation)} by chance; {_percent(own[most])} are in "
        f"{str(most)!r}, but {_percent(other[most])} of {_reference(control)}"
    )


def _batches(cells: pd.Series) -> str:
    """Those that hold cells, the one with most first."""
    return some(cells[cells > 0].sort_values(ascending=False, kind="stable").index, 2)


def _reference(control: pd.Series) -> str:
    return "the control" if control.any() else "all other cells"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
