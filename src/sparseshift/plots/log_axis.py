"""A logarithmic axis of numbers of something, with ticks that can be read."""

from collections.abc import Iterable
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

_LEAST_SPAN = 4.0  # end by beginning of the axis


def log_axis(axes: Axes, which: Literal["x", "y"], values: Iterable[float]) -> None:
    """Make an axis logarithmic and long enough for the values; those below 1 count as 1.

    Values that hardly differ do not fill the axis, so that they look alike.
    """
    sizes = np.array(list(values), dtype=float)
    sizes = np.maximum(sizes[np.isfinite(sizes)], 1.0)
    low, high = sizes.min() / 1.25, sizes.max() * 1.25
    widen = np.sqrt(max(_LEAST_SPAN * low / high, 1.0))
    low, high = low / widen, high * widen
    span = high / low
    steps = (1, 2, 3, 5) if span < 20 else (1, 2, 5) if span < 1_000 else (1,)
    ticks = [step * 10.0**power for power in range(12) for step in steps]
    axes.set(**{f"{which}scale": "log", f"{which}lim": (low, high)})
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
