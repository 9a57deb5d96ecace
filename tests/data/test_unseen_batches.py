"""Cells whose batch no training cell is in."""

import numpy as np
import pytest

from sparseshift.data.splits import Split, make_split
from sparseshift.data.unseen_batches import leave_out_unseen_batches

LABELS = np.repeat(["ctrl", "A", "B", "C"], [20, 20, 20, 20])
CELLS = [f"c{i}" for i in range(80)]
SPLIT = make_split(CELLS, LABELS, "ctrl", name="s", held_out=["B", "C"], seed=0)


def test_where_every_batch_was_trained_nothing_changes(caplog: pytest.LogCaptureFixture) -> None:
    batches = np.tile(["1", "2"], 40)
    assert leave_out_unseen_batches(SPLIT, CELLS, LABELS, batches) == SPLIT
    assert not caplog.text


def test_cells_of_other_batches_are_left_out_and_named(caplog: pytest.LogCaptureFixture) -> None:
    batches = np.tile(["1", "2"], 40).astype(object)
    batches[LABELS == "B"] = np.where(np.arange(20) < 5, "new", "1")
    batches[LABELS == "C"] = "other"
    found = leave_out_unseen_batches(SPLIT, CELLS, LABELS, batches)
    lost = set(np.array(CELLS)[np.isin(batches, ["new", "other"])])
    assert not lost & {*found.support, *found.query}
    assert {*SPLIT.support, *SPLIT.query} - lost == {*found.support, *found.query}
    assert (found.held_out, found.control_a) == (SPLIT.held_out, SPLIT.control_a)
    assert "25 cells are left out of support and query" in caplog.text
    assert "(new, other). Nothing can be scored of C." in caplog.text
    np.testing.assert_array_equal(
        found.is_training(CELLS, LABELS), SPLIT.is_training(CELLS, LABELS)
    )


def test_a_perturbation_without_support_has_no_query(caplog: pytest.LogCaptureFixture) -> None:
    batches = np.full(80, "1", dtype=object)
    support_of_b = [
        i for i, cell in enumerate(CELLS) if cell in SPLIT.support and LABELS[i] == "B"
    ]
    batches[support_of_b] = "new"
    found = leave_out_unseen_batches(SPLIT, CELLS, LABELS, batches)
    assert {LABELS[CELLS.index(cell)] for cell in found.query} == {"C"}
    assert "Nothing can be scored of B." in caplog.text


def test_random_cells_of_trained_perturbations_are_left_out_alike() -> None:
    random = Split("r", 0, (), (), ("c20", "c21"), ("c0",), ("c1",))
    batches = np.full(80, "1", dtype=object)
    batches[20] = "alone"
    assert leave_out_unseen_batches(random, CELLS, LABELS, batches).query == ("c21",)
