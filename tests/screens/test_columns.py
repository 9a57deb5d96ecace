import numpy as np
import pandas as pd
import pytest

from sparseshift.screens.columns import canonical, combine, targets


@pytest.mark.parametrize(
    ("label", "control", "expected"),
    [
        ("A", None, "A"),
        (" B + A ", None, "A+B"),
        ("A+A", None, "A"),
        ("A+ctrl", "ctrl", "A"),
        ("ctrl+A", "ctrl", "A"),
        ("A+ctrl", "control", "A+ctrl"),
        ("A+ctrl", None, "A+ctrl"),
        ("ctrl+ctrl", "ctrl", "ctrl"),
        ("A+ctrl", "ctrl+ctrl", "A"),
        ("ctrl", "ctrl+ctrl", "ctrl+ctrl"),
        ("ctrl+ctrl", "ctrl+ctrl", "ctrl+ctrl"),
        (" ctrl ", "ctrl", "ctrl"),
        (["B", "A"], None, "A+B"),
        (["B+C", "A", "ctrl"], "ctrl", "A+B+C"),
        ("", "ctrl", ""),
    ],
)
def test_combine(label: str | list[str], control: str | None, expected: str) -> None:
    assert combine(label, control) == expected
    assert combine(expected, control) == expected


def test_canonical_keeps_cells_and_reads_every_dtype() -> None:
    values = pd.Series(["B+A", None, "A+B", " A"], index=list("wxyz"), name="gene")
    for series in (values, values.astype("category")):
        labels = canonical(series)
        assert labels.tolist() == ["A+B", "", "A+B", "A"]
        assert labels.index.equals(values.index)
    assert canonical(pd.Series(np.array([2, 1]))).tolist() == ["2", "1"]


def test_targets_are_parts_without_the_control() -> None:
    assert targets(["A+B", "B", "ctrl", "C+ctrl", ""], "ctrl") == {"A", "B", "C"}
