"""Whether a screen can be used as it is: every fault at once, nothing changed, nothing copied."""

from collections.abc import Collection

import pandas as pd
from anndata import AnnData

from sparseshift.screens.check_counts import find_count_faults
from sparseshift.screens.check_labels import (
    find_column_faults,
    find_label_faults,
    find_unknown_faults,
)
from sparseshift.screens.columns import Columns
from sparseshift.screens.faults import Fault, raise_faults, some


def check_screen(
    adata: AnnData,
    columns: Columns,
    *,
    held_out: Collection[str] = (),
    expected: Collection[str] = (),
    empty_cells_allowed: bool = False,
) -> None:
    """Refuse a screen that cannot be used.

    Args:
        adata: The screen; read in blocks and left as it is, also if it is a view or on disk.
        columns: The columns and the layer that it uses.
        held_out: Perturbations to be kept from training.
        expected: Single perturbations that something else names (shared_mechanism).
        empty_cells_allowed: Whether cells without counts pass, since a filter will drop them.

    Raises:
        ScreenError: Lists every fault found, with column or matrix, value, example and cure.
    """
    raise_faults(
        find_faults(
            adata,
            columns,
            held_out=held_out,
            expected=expected,
            empty_cells_allowed=empty_cells_allowed,
        )
    )


def find_faults(
    adata: AnnData,
    columns: Columns,
    *,
    held_out: Collection[str] = (),
    expected: Collection[str] = (),
    empty_cells_allowed: bool = False,
) -> list[Fault]:
    """Every fault that `check_screen` would raise: of size and names, then labels, then counts."""
    faults = [
        *_no_size(adata),
        *_duplicates("obs", adata.obs_names),
        *_duplicates("var", adata.var_names),
    ]
    if adata.n_obs == 0:
        return [*faults, *find_column_faults(adata, columns)]
    return [
        *faults,
        *find_label_faults(adata, columns, held_out),
        *find_unknown_faults(adata, columns, expected),
        *find_count_faults(adata, columns.layer, empty_cells_allowed=empty_cells_allowed),
    ]


def _no_size(adata: AnnData) -> list[Fault]:
    sizes = {"cells": (adata.n_obs, "obs"), "genes": (adata.n_vars, "var")}
    return [
        Fault(
            axis,
            f"the screen has no {name}",
            f"its shape is {adata.shape}",
            f"Look at the step that selected {name}.",
        )
        for name, (size, axis) in sizes.items()
        if size == 0
    ]


def _duplicates(axis: str, names: pd.Index) -> list[Fault]:
    if names.is_unique:
        return []
    repeated = names[names.duplicated()]
    kind = {"obs": "cell", "var": "gene"}[axis]
    found = f"{len(repeated)} {kind} names are there more than once"
    return [
        Fault(
            f"{axis}_names",
            found,
            some(repeated.unique(), 3),
            f"Call adata.{axis}_names_make_unique().",
        )
    ]
