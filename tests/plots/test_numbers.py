import numpy as np
import pandas as pd
import pytest

from sparseshift.plots.numbers import column_text, decimals_for, number, with_interval


@pytest.mark.parametrize(
    ("values", "widths", "decimals"),
    [
        ([512.345, 498.1], [], 1),
        ([0.8312, 0.2], [], 3),
        ([0.00123], [], 5),
        ([3.0, 250.0], [], 0),
        ([512.345], [2.8], 1),
        ([512.345], [0.06], 3),
        ([512.345], [40.0], 0),
        ([512.345], [np.nan, 0.0], 1),
        ([np.nan], [], 0),
        ([], [], 0),
    ],
)
def test_decimals_follow_the_interval_or_the_size(
    values: list[float], widths: list[float], decimals: int
) -> None:
    assert decimals_for(values, widths) == decimals


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (0.5, 2, "0.50"),
        (-0.0004, 2, "0.00"),
        (9999.0, 0, "9999"),
        (16192.0, 0, "16,192"),
        (np.nan, 1, "–"),
        (-np.inf, 1, "-∞"),
    ],
)
def test_number(value: float, decimals: int, text: str) -> None:
    assert number(value, decimals) == text


def test_interval() -> None:
    assert with_interval(0.666, 0.577, 0.755, 2) == "0.67 [0.58, 0.76]"
    assert with_interval(0.666, np.nan, 0.755, 2) == "0.67"
    assert with_interval(np.nan, 0.1, 0.2, 2) == "–"


def test_columns_of_every_kind() -> None:
    assert column_text(pd.Series([1, None], dtype="Int64")) == ["1", "–"]
    assert column_text(pd.Series([True, False])) == ["yes", "no"]
    assert column_text(pd.Series(["a", None, "", np.nan])) == ["a", "–", "–", "–"]
    assert column_text(pd.Series([0.25, np.nan, 1.5])) == ["0.250", "–", "1.500"]
    assert column_text(pd.Series([1.5, 1e-9, 0.0])) == ["1.500", "<0.001", "0.000"]
    assert column_text(pd.Series([-1.5, 1e-9])) == ["-1.500", "0.000"]
    assert column_text(pd.Series([2.0, 3.0], dtype=object)) == ["2", "3"]
    assert column_text(pd.Series(["x", "y"], dtype="category")) == ["x", "y"]
    assert column_text(pd.Series([], dtype=float)) == []
