"""A matrix read in parts of bounded memory, as often as needed: some cells, or some genes, at a time."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

ELEMENTS = 2**21  # cells times genes of a part: 8 MiB where it is dense and single
LEAST_GENES = 16  # of a part of genes, each of which costs a pass over the cells


class Part(NamedTuple):
    """A block of a matrix: all genes of some cells, or all cells of some genes.

    Attributes:
        first_cell: of the block.
        first_gene: of the block.
        counts: (cells, genes) of the block; no zero stored, no gene twice in a cell.
    """

    first_cell: int
    first_gene: int
    counts: sparse.csr_matrix

    @property
    def cells(self) -> slice:
        """The cells of the block."""
        return slice(self.first_cell, self.first_cell + self.counts.shape[0])

    @property
    def genes(self) -> slice:
        """The genes of the block."""
        return slice(self.first_gene, self.first_gene + self.counts.shape[1])


class Parts:
    """What can be read in parts, again and again.

    Args:
        read: the block of these cells and genes, dense or sparse; one of the two is `slice(None)`.
        shape: (cells, genes).
        by_gene: whether it is stored by gene, so that parts are of some genes.
    """

    def __init__(
        self, read: Callable[[slice, slice], Any], shape: tuple[int, int], *, by_gene: bool
    ) -> None:
        self.read = read
        self.shape = shape
        self.by_gene = by_gene

    @classmethod
    def of(cls, matrix: Any) -> "Parts":
        """The parts of a matrix: numpy or scipy, CSR, CSC or another format."""
        if sparse.issparse(matrix):
            by_gene = matrix.format == "csc"
            matrix = matrix if by_gene or matrix.format == "csr" else matrix.tocsr()
        else:
            matrix, by_gene = np.asarray(matrix), False
        return cls(
            lambda cells, genes: matrix[:, genes] if by_gene else matrix[cells],
            matrix.shape,
            by_gene=by_gene,
        )

    def __iter__(self) -> Iterator[Part]:
        n_cells, n_genes = self.shape
        if self.by_gene:
            step = max(LEAST_GENES, ELEMENTS // max(1, n_cells))
            for first in range(0, n_genes, step):
                some = slice(first, min(first + step, n_genes))
                yield Part(0, first, _canonical(self.read(slice(None), some)))
        else:
            step = max(1, ELEMENTS // max(1, n_genes))
            for first in range(0, n_cells, step):
                some = slice(first, min(first + step, n_cells))
                yield Part(first, 0, _canonical(self.read(some, slice(None))))


def _canonical(block: Any) -> sparse.csr_matrix:
    counts = sparse.csr_matrix(block)
    if counts.has_canonical_format and counts.data.all():
        return counts
    counts = counts.copy()  # scipy gives the matrix itself where a slice is all of it
    counts.sum_duplicates()
    counts.eliminate_zeros()
    return counts
