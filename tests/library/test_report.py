"""What the report says in words beside its tables."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from sparseshift.report import write_page, write_section
from sparseshift.scoring import METRIC_COLUMNS

RANGE = {"median": 1.0, "min": 1.0, "max": 2.0}
FACTS: dict[str, Any] = {
    "cells": 10, "genes": 5, "perturbations": 2, "combinations": 0, "control": "c",
    "control_cells": 3, "batches": 1, "cells_per_perturbation": RANGE, "counts_per_cell": RANGE,
    "targets_measured": [],
}  # fmt: skip
EFFECTS = pd.DataFrame(
    {"perturbation": ["a"], "latent": ["z0"], "effect": [1.0], "inclusion_probability": [0.9]}
)


def metrics_of(*rows: tuple[str, str, int, str, float]) -> pd.DataFrame:
    """From model, split, seed, metric, value."""
    full = [
        ("here", m, s, seed, metric, "trained", v, np.nan, np.nan)
        for m, s, seed, metric, v in rows
    ]
    return pd.DataFrame(full, columns=METRIC_COLUMNS).astype({"seed": "Int64"})


def notes_of(metrics: pd.DataFrame) -> str:
    tables = {"comparison": metrics, "filters": EFFECTS, "effects": EFFECTS}
    return " ".join(write_section("here", tables, FACTS, {}, {})["notes"])


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
    section = write_section(
        "here", {"comparison": metrics, "filters": EFFECTS, "effects": EFFECTS}, FACTS, {}, {}
    )
    page = write_page(metrics, [section], "svae", "full")
    assert "recovered best by svae (MCC 0.70; split" in page
    assert page.count("MCC 0.") == 1
    assert "The screen is simulated" in page
    real = metrics_of(("vae", "full", 0, "n_edges", 3.0))
    assert "simulated" not in notes_of(real)
