"""Reading the counts of a screen, whatever holds them: dense, CSR, CSC, a file on disk, a view."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from anndata import AnnData
from scipy import sparse

from sparseshift.data.parts import LEAST_GENES, Parts

MAX_ELEMENTS = 2**21  # cells times genes of a block: 16 MiB where it is dense and double


class Block(NamedTuple):
    """The non-zero values of some cells or some genes, as triples of one length."""

    cells: np.ndarray
    genes: np.ndarray
    values: np.ndarray


def name_of(layer: str | None) -> str:
    """How the matrix is written in code."""
    return "X" if layer is None else f"layers[{layer!r}]"


def blocks(adata: AnnData, layer: str | None) -> Iterator[Block]:
    """The counts in blocks of bounded memory: of cells, or of genes where they are stored by column.

    A view is read from what it is a view of, and so is neither copied nor made actual.
    """
    read, by_gene = _reader(adata, layer)
    shape = adata.shape
    long, wide = shape[::-1] if by_gene else shape
    least = LEAST_GENES if by_gene else 1
    step = max(least, MAX_ELEMENTS // max(1, wide))
    for start in range(0, long, step):
        piece = slice(start, min(start + step, long))
        block = _triples(read(slice(None), piece) if by_gene else read(piece, slice(None)))
        yield Block(
            block.cells + (0 if by_gene else start),
            block.genes + (start if by_gene else 0),
            block.values,
        )


def read_counts(
    adata: AnnData, layer: str | None, cells: np.ndarray | slice = slice(None)
) -> sparse.csr_matrix:
    """The counts of some cells as CSR in single precision, which is exact up to 2**24; never the original."""
    read, _ = _reader(adata, layer)
    counts = sparse.csr_matrix(read(cells, slice(None)), dtype=np.float32, copy=True)
    counts.sum_duplicates()
    counts.eliminate_zeros()
    return counts


def count_parts(adata: AnnData, layer: str | None, genes: np.ndarray) -> Parts:
    """The counts of some genes, by position and in this order, to be read in parts."""
    read, by_gene = _reader(adata, layer)
    all_genes = np.array_equal(genes, np.arange(adata.n_vars))
    return Parts(
        lambda i, j: read(i, j if all_genes else genes[j]),
        (adata.n_obs, len(genes)),
        by_gene=by_gene,
    )


def matrix_of(adata: AnnData, layer: str | None) -> Any:
    """The matrix itself; of a view this makes a copy of its part."""
    return adata.X if layer is None else adata.layers[layer]


def _reader(adata: AnnData, layer: str | None) -> tuple[Callable[[Any, Any], Any], bool]:
    """What reads a block of cells and genes, by slices or positions, and whether it likes genes best."""
    whole, cells, genes = adata, slice(None), slice(None)
    if adata.is_view:
        # Not public: X of a view is a copy, and anndata cannot index a view of a file once more.
        whole, cells, genes = adata._adata_ref, adata._oidx, adata._vidx
    matrix = matrix_of(whole, layer)
    by_gene = getattr(matrix, "format", "") == "csc"

    def read(i: Any, j: Any) -> Any:
        along = (_within(cells, i, matrix.shape[0]), _within(genes, j, matrix.shape[1]))
        part = _picked(matrix, along[by_gene], axis=int(by_gene))
        return _picked(part, along[not by_gene], axis=int(not by_gene))

    return read, by_gene


def _within(shown: Any, chosen: Any, n: int) -> Any:
    """Positions in the matrix of those chosen among the shown; a slice where they follow each other."""
    places = np.arange(n)[shown][chosen]
    if len(places) and (np.diff(places) == 1).all():
        return slice(int(places[0]), int(places[-1]) + 1)
    return places


def _picked(matrix: Any, places: Any, axis: int) -> Any:
    """Some rows or columns of a matrix in memory or on disk; all of one in memory are the matrix itself."""
    in_memory = sparse.issparse(matrix) or isinstance(matrix, np.ndarray)
    if in_memory and isinstance(places, slice) and places == slice(0, matrix.shape[axis]):
        return matrix
    if in_memory or isinstance(places, slice):
        return matrix[places] if axis == 0 else matrix[:, places]
    order, back = np.unique(places, return_inverse=True)  # files are read in increasing order
    part = matrix[order] if axis == 0 else matrix[:, order]
    return part[back] if axis == 0 else part[:, back]


def _triples(matrix: Any) -> Block:
    if sparse.issparse(matrix):
        coo = matrix.tocoo()
        stored = np.flatnonzero(coo.data != 0)  # a zero may be stored too
        return Block(coo.row[stored], coo.col[stored], coo.data[stored])
    dense = np.asarray(matrix)
    cells, genes = np.nonzero(dense)
    return Block(cells, genes, dense[cells, genes])
