"""What the report says in words beside its tables."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from sparseshift.report import write_page, write_section
from sparseshift.scoring import METRIC_COLUMNS
from sparseshift.scoring.ceilings import COLUMNS

RANGE = {"median": 1.0, "min": 1.0, "max": 2.0}
FACTS: dict[str, Any] = {
    "cells": 10, "genes": 5, "perturbations": 2, "combinations": 0, "control": "c",
    "control_cells": 3, "batches": 1, "cells_per_perturbation": RANGE, "counts_per_cell": RANGE,
    "targets_measured": [],
}  # fmt: skip
FILTERS = pd.DataFrame({"step": ["cells"], "cells": [10]})
EDGES = pd.DataFrame(
    {
        "perturbation": ["a", "b", "c", "d"],
        "latent": ["z0", "z1", "z0", "z2"],
        "effect": [1.0, -2.0, 9.0, 0.5],
        "inclusion": [0.9, 0.8, 0.9, 0.9],
        "frequency": [1.0, 1.0, 0.5, 0.75],
        "sign_agreement": [1.0, 1.0, 1.0, 1.0],
        "stable": [True, True, False, True],
    }
)


def tables_of(metrics: pd.DataFrame, **others: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """What a section is written from."""
    nothing = pd.DataFrame(columns=["split", *COLUMNS])
    return {
        "comparison": metrics,
        "filters": FILTERS,
        "edges": EDGES,
        "ceilings": nothing,
    } | others


def metrics_of(*rows: tuple[str, str, int, str, float]) -> pd.DataFrame:
    """From model, split, seed, metric, value."""
    full = [
        ("here", m, s, seed, metric, "trained", v, np.nan, np.nan)
        for m, s, seed, metric, v in rows
    ]
    return pd.DataFrame(full, columns=METRIC_COLUMNS).astype({"seed": "Int64"})


def notes_of(metrics: pd.DataFrame) -> str:
    return " ".join(write_section("here", tables_of(metrics), FACTS, {}, {})["notes"])


@pytest.mark.parametrize(("seed", "value"), [(0, 0.0), (0, 1.0), (3, 0.0)])
def test_fits_whose_edges_still_moved_are_named(seed: int, value: float) -> None:
    notes = notes_of(
        metrics_of(
            ("svae_plus", "full", seed, "edges_converged", value),
            ("svae", "full", 7, "edges_converged", 1.0),
        )
    )
    assert (f"still moved at the end of training in svae_plus full {seed} (" in notes) == (
        value == 0.0
    )
    assert "svae full 7" not in notes


def test_the_best_recovery_of_each_split_is_named() -> None:
    metrics = metrics_of(
        ("pca", "full", 0, "mcc_pearson", 0.5),
        ("vae", "full", 0, "mcc_pearson", 0.9),
        ("vae", "full", 1, "mcc_pearson", 0.4),
        ("svae", "full", 0, "mcc_pearson", 0.7),
        ("svae", "held_out", 0, "mcc_pearson", 0.7),
    )
    section = write_section("here", tables_of(metrics), FACTS, {}, {})
    page = write_page(metrics, [section], "svae", "full")
    assert "recovered best by svae (MCC 0.70; split" in page
    assert page.count("MCC 0.") == 1
    assert "The screen is simulated" in page
    real = metrics_of(("vae", "full", 0, "n_edges", 3.0))
    assert "simulated" not in notes_of(real)


def test_the_edges_that_are_listed_are_the_stable_ones() -> None:
    section = write_section("here", tables_of(metrics_of()), FACTS, {}, {})
    page = write_page(metrics_of(("svae", "full", 0, "n_edges", 3.0)), [section], "svae", "full")
    table = page[page.index("The stable graph: ") - 3000 : page.index("The stable graph: ") + 3000]
    rows = [table.index(f">{name}<") for name in ("b", "a", "d")]
    assert rows == sorted(rows)
    assert ">c<" not in page


def test_where_floor_and_ceiling_cannot_be_told_apart_is_printed() -> None:
    rows = [
        ("s", "ate_pearson_r", "svae", 0.6, 0.2, 0.4, 0.1, 5, True, 0.5, 0.75, 0.6, 0.9),
        ("s", "ate_rmse", "svae", 0.6, 0.6, 0.0, 0.1, 5, False, 0.5, np.nan, np.nan, np.nan),
    ]
    ceilings = pd.DataFrame(rows, columns=["split", *COLUMNS])
    section = write_section("here", tables_of(metrics_of(), ceilings=ceilings), FACTS, {}, {})
    page = write_page(metrics_of(("svae", "full", 0, "n_edges", 3.0)), [section], "svae", "full")
    assert "0.75 (0.60 to 0.90)" in page
    assert ">not resolvable<" in page
