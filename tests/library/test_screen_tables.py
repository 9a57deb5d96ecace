"""What a screen holds, and which perturbations move the latents most."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from sparseshift.data.splits import make_split
from sparseshift.errors import ScreenError
from sparseshift.screens.cells import (
    dense_counts,
    read_perturbations,
    training_screen,
    with_counts,
)
from sparseshift.screens.columns import Columns
from sparseshift.screens.embedding import strongest
from sparseshift.screens.summary import summarise

COLUMNS = Columns("gene", "ctrl", "batch")


def test_summary(small_screen: AnnData) -> None:
    screen = small_screen.copy()
    screen.var_names = ["A", "D", *screen.var_names[2:]]
    found = summarise(screen, COLUMNS)
    totals = screen.X.toarray().sum(1)
    assert found["cells"] == 300
    assert found["genes"] == 20
    assert found["perturbations"] == 7
    assert found["combinations"] == 3
    assert found["control_cells"] == 70
    assert found["batches"] == 2
    assert found["cells_per_perturbation"] == {"min": 15.0, "median": 30.0, "max": 50.0}
    expected = {"min": totals.min(), "median": np.median(totals), "max": totals.max()}
    assert found["counts_per_cell"] == pytest.approx(expected)
    assert found["targets_measured"] == ["A", "D"]


def test_summary_of_a_screen_without_control(small_screen: AnnData) -> None:
    found = summarise(small_screen, Columns("gene"))
    assert (found["perturbations"], found["control"], found["control_cells"]) == (8, None, 0)
    assert found["batches"] == 1


def test_dense_counts_picks_genes_in_order(small_screen: AnnData) -> None:
    counts = dense_counts(small_screen, None, ["G7", "G0"])
    assert counts.dtype == np.float32
    np.testing.assert_array_equal(counts, small_screen.X.toarray()[:, [7, 0]])


def test_training_screen_leaves_out_held_out_labels_and_empty_cells(
    small_screen: AnnData,
) -> None:
    labels = read_perturbations(small_screen, COLUMNS)
    assert set(labels) == {"ctrl", "A", "B", "A+B", "C", "D", "C+D", "A+C"}
    split = make_split(
        list(small_screen.obs_names), labels, "ctrl", name="s", held_out=["A+B", "D"], seed=0
    )
    screen = small_screen.copy()
    counts = screen.X.toarray()
    counts[0, :5] = 0.0
    screen.X = counts
    kept = training_screen(screen, COLUMNS, split, [f"G{i}" for i in range(5)])
    assert kept.n_vars == 5
    expected = ~np.isin(labels, ["A+B", "D"]) & (counts[:, :5].sum(1) > 0)
    assert kept.obs_names.tolist() == screen.obs_names[expected].tolist()
    assert screen.obs_names[0] not in kept.obs_names
    assert with_counts(screen, COLUMNS).n_obs == 300


def test_missing_columns_list_those_there_are(small_screen: AnnData) -> None:
    with pytest.raises(ScreenError, match=r"obs has no column 'guide'\. It has: gene, batch"):
        read_perturbations(small_screen, Columns("guide"))


def test_strongest_perturbations() -> None:
    effects = pd.DataFrame(
        [
            ("a", "z0", 3.0, 1.0),
            ("a", "z1", 4.0, 1.0),
            ("b", "z0", 9.0, 0.05),
            ("b", "z1", 0.0, 1.0),
            ("c", "z0", -6.0, 1.0),
            ("c", "z1", 0.0, 0.0),
            ("d", "z0", 1.0, 0.9),
            ("d", "z1", 0.0, 0.0),
        ],
        columns=["perturbation", "latent", "effect", "inclusion_probability"],
    )
    assert strongest(effects) == ["c", "a", "d"]
    assert strongest(effects, n=1) == ["c"]
