"""Complementary half-samples of cells: two refits that share no cell, and together see all.

Selection on halves of the data is what the bounds of stability selection are for (Meinshausen and
Bühlmann 2010); complementary pairs need fewer assumptions (Shah and Samworth 2013).
"""

from collections.abc import Sequence

import numpy as np

from sparseshift.errors import OptionError, require_whole


def half_samples(
    labels: Sequence[str] | np.ndarray, n: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Splits the cells into two halves, `n` times, so that both have every label.

    The halves differ by at most one cell, in all and of each label; every label of two cells or more is
    in both, one of a single cell in either. Batches are not balanced.

    Args:
        labels: of the cells, (cells,).
        n: pairs, so 2 n half-samples.
        seed: of the draws.

    Returns:
        n pairs of row numbers, each ascending, (about cells / 2,) int64.

    Raises:
        OptionError: n is less than 1, or there are fewer than two cells.
    """
    require_whole("n", n, 1)
    names, codes = np.unique(np.asarray(labels), return_inverse=True)
    if len(codes) < 2:
        raise OptionError(f"{len(codes)} cells cannot be halved: pass at least 2.")
    rng = np.random.default_rng(seed)
    pairs = []
    for _ in range(n):
        # the cells of a label stand in a row, so that every second one is half of each label
        order = np.lexsort((rng.random(len(codes)), rng.permutation(len(names))[codes]))
        first = int(rng.integers(2))
        pairs.append((np.sort(order[first::2]), np.sort(order[1 - first :: 2])))
    return pairs
