import io
import sys
from concurrent.futures import ThreadPoolExecutor

import pandas as pd

from sparseshift.plots.effect_matrix import effect_matrix


def test_figures_need_no_pyplot_and_may_be_drawn_in_threads(
    effects: pd.DataFrame, inclusion: pd.DataFrame
) -> None:
    def draw(_: int) -> bytes:
        buffer = io.BytesIO()
        effect_matrix(effects, inclusion).savefig(buffer, format="png", dpi=60)
        return buffer.getvalue()

    with ThreadPoolExecutor(4) as pool:
        images = set(pool.map(draw, range(8)))
    assert len(images) == 1
    modules = [name for name in sys.modules if name.startswith("sparseshift.plots.")]
    assert not [name for name in modules if hasattr(sys.modules[name], "plt")]
