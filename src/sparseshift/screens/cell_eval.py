"""Predicted or observed cells as cell-eval reads them (Arc Institute; checked with version 0.8.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sparseshift.errors import ScreenError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData

PERTURBATION = "target_gene"
CONTROL = "non-targeting"
# above this cell-eval takes values for counts that were not log-transformed
_MAX = 15.0


def to_cell_eval(
    profiles: np.ndarray, labels: Sequence[str], genes: Sequence[str], control: str
) -> AnnData:
    """Cells with the column and control name that `cell-eval run` expects.

    Write one file of the observed query cells with control half B, and one of the predicted cells with the
    predicted control. With the same control cells in both, their noise alone would correlate the two.

        cell-eval run -ar observed.h5ad -ap predicted.h5ad

    Args:
        profiles: log-normalised, (cells, genes).
        labels: perturbations, the control's among them, (cells,). Both files need the same set.
        genes: (genes,), the same in both files.
        control: the control's label; it becomes "non-targeting".

    Returns:
        X float32; `obs["target_gene"]`, categorical.

    Raises:
        ScreenError: shapes that do not fit, no control cells, or values that cell-eval would refuse or would
            normalise a second time.
    """
    from anndata import AnnData

    profiles, names = np.asarray(profiles, dtype=np.float32), np.asarray(labels, dtype=str)
    if profiles.shape != (len(names), len(genes)):
        raise ScreenError(
            f"The profiles have shape {profiles.shape} for {len(names)} labels and {len(genes)} genes."
        )
    _check_values(profiles)
    if control not in names:
        raise ScreenError(f"There is no cell of the control {control!r}; cell-eval needs some.")
    if control != CONTROL and CONTROL in names:
        raise ScreenError(
            f"The perturbation {CONTROL!r} has the name that cell-eval gives the control. Rename it."
        )
    targets = pd.Categorical(np.where(names == control, CONTROL, names))
    obs = pd.DataFrame({PERTURBATION: targets}, index=[f"cell_{i}" for i in range(len(names))])
    return AnnData(profiles, obs=obs, var=pd.DataFrame(index=pd.Index(list(genes), dtype=str)))


def _check_values(profiles: np.ndarray) -> None:
    if not np.isfinite(profiles).all() or profiles.min(initial=0.0) < 0:
        raise ScreenError("Log-normalised profiles are finite and not negative; these are not.")
    if profiles.max(initial=0.0) >= _MAX:
        raise ScreenError(
            f"The largest value is {profiles.max():.1f}; log-normalised ones are below {_MAX:g}. "
            "Pass log(1 + scaled counts)."
        )
    # cell-eval's own test of what is a count
    if not (np.modf(profiles)[0] > 1e-3).any():
        raise ScreenError(
            "All values are whole numbers: cell-eval would take them for counts and normalise them. "
            "Pass log(1 + scaled counts)."
        )
