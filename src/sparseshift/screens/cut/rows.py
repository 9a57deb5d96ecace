"""Chosen cells and genes of a matrix on disk, in pieces of bounded memory, each as CSR.

A dense matrix is read in whole rows, one block after the other, in the order of the file. Of the
2 million cells of a genome-wide screen, 65 GB, every 16th may be wanted: to skip the rows between
costs a disk more than to read them.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from sparseshift.errors import ScreenError

BLOCK_BYTES = 2**25  # of the file, read at once
PIECE_BYTES = 2**30  # of the file, after which what was found can be put away
GAP_BYTES = 2**22  # what is not wanted is read along if it is less than this
STORED_BYTES = 8  # of a stored value of a sparse matrix with its position

Seen = Callable[[int], None]


class Piece(NamedTuple):
    """Rows `start` to `stop` of the file; columns where it is stored by gene."""

    start: int
    stop: int


class Reader(ABC):
    """Reads chosen cells and genes of one matrix, piece by piece.

    Attributes:
        nbytes: Of the matrix in the file, before compression.
        by_gene: Whether pieces are of genes, all cells of each.
    """

    nbytes: int
    by_gene: bool = False

    @abstractmethod
    def pieces(self) -> list[Piece]:
        """Those that hold something wanted, in the order of the file; the same each time."""

    @abstractmethod
    def read(self, piece: Piece, seen: Seen) -> sparse.csr_matrix:
        """What is wanted of a piece: (its cells, genes), or by gene (its genes, cells), float32.

        Args:
            piece: One of `pieces`.
            seen: Told after each block how many bytes of the file were passed.
        """


def reader_of(matrix: Any, cells: np.ndarray, genes: np.ndarray) -> Reader:
    """The reader for a dense, CSR or CSC matrix in HDF5 or zarr.

    Args:
        matrix: `Source.matrix`.
        cells: (n,) int64, increasing.
        genes: (m,) int64, increasing.
    """
    if not hasattr(matrix, "format"):
        return DenseReader(matrix, cells, genes)
    return SparseReader(matrix, cells, genes)


class DenseReader(Reader):
    """Of an array; blocks are whole chunks where it is stored in chunks."""

    def __init__(self, matrix: Any, cells: np.ndarray, genes: np.ndarray) -> None:
        self.matrix, self.cells, self.genes = matrix, cells, genes
        self._row_bytes = max(1, matrix.shape[1] * matrix.dtype.itemsize)
        self.nbytes = matrix.shape[0] * self._row_bytes
        self._chunk = matrix.chunks or (1, matrix.shape[1])

    def pieces(self) -> list[Piece]:
        """See `Reader.pieces`."""
        step = self._rows(PIECE_BYTES)
        starts = np.unique(self.cells // step) * step
        return [Piece(int(a), min(int(a) + step, self.matrix.shape[0])) for a in starts]

    def read(self, piece: Piece, seen: Seen) -> sparse.csr_matrix:
        """See `Reader.read`."""
        found = [sparse.csr_matrix((0, len(self.genes)), dtype=np.float32)]
        step = self._rows(BLOCK_BYTES)
        room = np.empty(step * self._slab(step), dtype=self.matrix.dtype)
        for start in range(piece.start, piece.stop, step):
            stop = min(start + step, piece.stop)
            cells = _between(self.cells, start, stop)
            gap = max(self._chunk[0], GAP_BYTES // self._row_bytes)
            found += [self._pick(run, room) for run in _runs(cells, gap)]
            seen((stop - start) * self._row_bytes)
        return sparse.vstack(found, format="csr")

    def _rows(self, nbytes: int) -> int:
        """So many bytes in rows, whole chunks of them."""
        rows = max(1, nbytes // self._row_bytes)
        return max(1, rows // self._chunk[0]) * self._chunk[0]

    def _slab(self, n_rows: int) -> int:
        """How many columns are read at once: all, or, where chunks are tall, some chunks of them."""
        width = int(self.matrix.shape[1])
        if n_rows * self._row_bytes <= 2 * BLOCK_BYTES:
            return width
        columns = BLOCK_BYTES // (n_rows * self.matrix.dtype.itemsize)
        return min(width, max(1, columns // self._chunk[1]) * self._chunk[1])

    def _pick(self, cells: np.ndarray, room: np.ndarray) -> sparse.csr_matrix:
        first, stop = int(cells[0]), int(cells[-1]) + 1
        width = self._slab(self._rows(BLOCK_BYTES))
        picked = []
        for start in range(0, self.matrix.shape[1], width):
            genes = _between(self.genes, start, start + width)
            if len(genes):
                slab = self._read(
                    slice(first, stop), start, min(start + width, self.matrix.shape[1]), room
                )
                dense = slab[np.ix_(cells - first, genes - start)]
                picked.append(sparse.csr_matrix(dense, dtype=np.float32))
        return sparse.hstack(picked, format="csr") if len(picked) > 1 else picked[0]

    def _read(self, rows: slice, start: int, stop: int, room: np.ndarray) -> np.ndarray:
        if not hasattr(self.matrix, "read_direct"):
            return np.asarray(self.matrix[rows, start:stop])
        # into memory that is there already: to have it made costs as much as to read
        shape = (rows.stop - rows.start, stop - start)
        slab = room[: shape[0] * shape[1]].reshape(shape)
        self.matrix.read_direct(slab, np.s_[rows, start:stop])
        return slab


class SparseReader(Reader):
    """Of a CSR matrix, or a CSC matrix, which is a CSR matrix of genes by cells."""

    def __init__(self, matrix: Any, cells: np.ndarray, genes: np.ndarray) -> None:
        self.matrix = matrix
        self.by_gene = matrix.format == "csc"
        self.long, self.wide = (genes, cells) if self.by_gene else (cells, genes)
        self._start = np.asarray(matrix.group["indptr"][:], dtype=np.int64)
        self.nbytes = int(self._start[-1]) * STORED_BYTES

    def pieces(self) -> list[Piece]:
        """See `Reader.pieces`."""
        edges = self._cut(Piece(0, len(self._start) - 1), PIECE_BYTES)
        return [piece for piece in edges if len(_between(self.long, *piece))]

    def read(self, piece: Piece, seen: Seen) -> sparse.csr_matrix:
        """See `Reader.read`."""
        found = [sparse.csr_matrix((0, len(self.wide)), dtype=np.float32)]
        mean = max(1, self.nbytes // max(1, len(self._start) - 1))
        for block in self._cut(piece, BLOCK_BYTES):
            for run in _runs(_between(self.long, *block), max(1, GAP_BYTES // mean)):
                some = slice(int(run[0]), int(run[-1]) + 1)
                part = self.matrix[:, some].T if self.by_gene else self.matrix[some]
                _check_places(part)
                picked = part[run - run[0]][:, self.wide].astype(np.float32)
                picked.sum_duplicates()
                picked.eliminate_zeros()
                found.append(picked)
            seen(int(self._start[block.stop] - self._start[block.start]) * STORED_BYTES)
        return sparse.vstack(found, format="csr")

    def _cut(self, whole: Piece, nbytes: int) -> list[Piece]:
        """Stretches with at most so many bytes each, but at least one row."""
        begin, end = self._start[whole.start], self._start[whole.stop]
        if begin == end:  # rows without a value
            return [whole]
        marks = np.arange(begin, end, max(1, nbytes // STORED_BYTES))
        edges = np.unique(
            np.searchsorted(self._start, marks, side="left").clip(whole.start, whole.stop)
        )
        return [
            Piece(int(a), int(b))
            for a, b in zip(edges, [*edges[1:], whole.stop], strict=True)
            if b > a
        ]


def _check_places(part: sparse.csr_matrix) -> None:
    """Scipy trusts what a file says of places, and would read other memory."""
    if part.nnz and not (part.indices.min() >= 0 and part.indices.max() < part.shape[1]):
        raise ScreenError(
            f"The sparse matrix has values in columns {part.indices.min()} to {part.indices.max()}, but only "
            f"{part.shape[1]} columns. The file is damaged: get it again."
        )


def _between(positions: np.ndarray, start: int, stop: int) -> np.ndarray:
    """Those of increasing positions from start up to, not including, stop."""
    return positions[slice(*np.searchsorted(positions, [start, stop]))]


def _runs(positions: np.ndarray, gap: int) -> Iterator[np.ndarray]:
    """Increasing positions in groups with at most `gap` unwanted between neighbours."""
    if len(positions):
        yield from np.split(positions, np.flatnonzero(np.diff(positions) > gap + 1) + 1)
