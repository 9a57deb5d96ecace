"""Numbers as text: as many digits as mean something, the same number of decimals in a column."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

NOT_AVAILABLE = "–"


def decimals_for(values: Iterable[float], widths: Iterable[float] = ()) -> int:
    """Decimals that a column of numbers is worth.

    Args:
        values: the numbers; not-a-numbers do not count.
        widths: full widths of their intervals. Where there are some, the last decimal shown is the
            second digit of the median half width; else whole numbers have none, and of others the
            largest has four digits, or three below one.
    """
    halves = np.array(list(widths), dtype=float) / 2
    halves = halves[np.isfinite(halves) & (halves > 0)]
    if len(halves):
        return int(np.clip(1 - np.floor(np.log10(np.median(halves))), 0, 6))
    sizes = np.abs(np.array(list(values), dtype=float))
    sizes = sizes[np.isfinite(sizes)]
    largest = float(sizes.max()) if len(sizes) else 0.0
    if bool(np.all(sizes == np.round(sizes))):
        return 0
    digits = 4 if largest >= 1 else 3
    return int(np.clip(digits - 1 - np.floor(np.log10(largest)), 0, 6))


def number(value: float, decimals: int) -> str:
    """A number, or a dash where it is not available; thousands are parted from ten thousand on.

    Zero has no sign.
    """
    if np.isnan(value):
        return NOT_AVAILABLE
    if not np.isfinite(value):
        return "∞" if value > 0 else "-∞"
    value = round(value, decimals) + 0.0
    return f"{value:,.{decimals}f}" if abs(value) >= 10_000 else f"{value:.{decimals}f}"


def with_interval(value: float, lower: float, upper: float, decimals: int) -> str:
    """`value [lower, upper]`, the value alone without an interval, or a dash."""
    if np.isnan([value, lower, upper]).any():
        return number(value, decimals)
    return f"{number(value, decimals)} [{number(lower, decimals)}, {number(upper, decimals)}]"


def column_text(column: pd.Series) -> list[str]:
    """The cells of a table's column as text.

    In a column without negative numbers, what would round to zero though it is not is written as
    `<0.001`.
    """
    column = column.infer_objects()
    if pd.api.types.is_bool_dtype(column):
        return [NOT_AVAILABLE if pd.isna(v) else "yes" if v else "no" for v in column]
    if not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_complex_dtype(column):
        texts = column.astype(str).where(column.notna(), "")
        return [text or NOT_AVAILABLE for text in texts]
    values = column.to_numpy(dtype=float, na_value=np.nan)
    decimals = decimals_for(values)
    unit = 10.0**-decimals
    tiny = (values > 0) & (values < unit / 2) & ~np.any(values < 0)
    return [
        f"<{number(unit, decimals)}" if small else number(value, decimals)
        for value, small in zip(values, tiny, strict=True)
    ]
