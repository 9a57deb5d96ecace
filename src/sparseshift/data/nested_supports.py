"""Which cells an n-shot curve adapts to and scores: nested supports, and queries that never change."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sparseshift.data.splits import Split
from sparseshift.errors import OptionError, require_whole

SIZES = (5, 10, 20, 50, 100)


class Impossible(NamedTuple):
    """What an n-shot curve leaves out, and why.

    Attributes:
        perturbation: label.
        sizes: of the supports that are left out.
        reason: in words, with numbers.
    """

    perturbation: str
    sizes: tuple[int, ...]
    reason: str

    def __str__(self) -> str:
        sizes = ", ".join(map(str, self.sizes))
        return f"{self.perturbation}: no support of {sizes} cells, {self.reason}."


@dataclass(frozen=True, eq=False)
class NestedSupports:
    """Cells by name, of the perturbations that some size is possible for.

    Attributes:
        sizes: cells n of a perturbation's support, ascending; those that some perturbation has.
        n_draws: random orders of each perturbation's support cells.
        query: label to the cells to score, all of the split's: the same for every size and draw.
        order: label to (draws, cells), as many cells as the largest size takes at most; the first n of a row
            are the support of size n.
        impossible: what is left out.
    """

    sizes: tuple[int, ...]
    n_draws: int
    query: Mapping[str, np.ndarray]
    order: Mapping[str, np.ndarray]
    impossible: tuple[Impossible, ...]

    @property
    def query_cells(self) -> np.ndarray:
        """Of all perturbations, one after the other."""
        return _joined(list(self.query.values()))

    @property
    def query_labels(self) -> np.ndarray:
        """The perturbation of each of `query_cells`."""
        return np.repeat(
            np.array(list(self.query), dtype=str), [len(q) for q in self.query.values()]
        )

    @property
    def support_cells(self) -> np.ndarray:
        """All that some support has, each once."""
        return _joined([np.unique(order) for order in self.order.values()])

    def possible(self, size: int) -> tuple[str, ...]:
        """The perturbations with so many support cells: for a larger size some of them."""
        return tuple(label for label, order in self.order.items() if order.shape[1] >= size)

    def support(self, size: int, draw: int) -> np.ndarray:
        """`size` support cells of each perturbation that has them."""
        return _joined([self.order[label][draw, :size] for label in self.possible(size)])


def nest_supports(
    cells: Sequence[str],
    labels: np.ndarray,
    split: Split,
    *,
    sizes: Sequence[int] = SIZES,
    n_draws: int = 10,
    min_query: int = 20,
    seed: int = 0,
) -> NestedSupports:
    """Draws the supports of an n-shot curve from a split's held-out perturbations.

    A perturbation's draws depend on its own cells and the seed alone, not on other perturbations nor on
    the order of the cells.

    Args:
        cells: names of those that can be used; cells of the split that are not among them are left out.
        labels: of these cells, (cells,).
        split: support and query cells.
        sizes: of supports.
        n_draws: random orders.
        min_query: a perturbation with fewer query cells is left out.
        seed: of the orders.

    Raises:
        OptionError: there is no size, or a number is not a whole one or too small.
    """
    sizes = tuple(sorted({require_whole("sizes", size, 1) for size in sizes}))
    if not sizes:
        raise OptionError(
            "sizes is empty. Give the numbers of support cells, such as [5, 10, 20]."
        )
    n_draws, min_query = (
        require_whole(*given, 1) for given in (("n_draws", n_draws), ("min_query", min_query))
    )
    label_of = dict(zip(map(str, cells), np.asarray(labels, dtype=str).tolist(), strict=True))
    query, order, impossible = {}, {}, []
    for label in split.held_out:
        support, scored = (
            np.array(sorted(cell for cell in part if label_of.get(cell) == label), dtype=str)
            for part in (split.support, split.query)
        )
        possible = [size for size in sizes if size <= len(support)]
        if len(scored) < min_query:
            reason = f"as it has {len(scored)} query cells and {min_query} are needed"
            impossible.append(Impossible(label, sizes, reason))
            continue
        if len(possible) < len(sizes):
            reason = f"as the split gives it {len(support)}"
            impossible.append(Impossible(label, sizes[len(possible) :], reason))
        if possible:
            rng = np.random.default_rng([seed, *label.encode()])
            orders = [rng.permutation(support)[: possible[-1]] for _ in range(n_draws)]
            query[label], order[label] = scored, np.stack(orders)
    if not split.held_out:
        reason = f"as the split {split.name!r} holds out no perturbation"
        impossible.append(Impossible("every perturbation", sizes, reason))
    largest = max((cells.shape[1] for cells in order.values()), default=0)
    found = tuple(size for size in sizes if size <= largest)
    return NestedSupports(found, n_draws, query, order, tuple(impossible))


def _joined(names: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.array([], dtype=str), *names])
