"""Reading the counts of a screen, whatever holds them: dense, CSR, CSC, a file on disk, a view."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from anndata import AnnData
from scipy import sparse

MAX_ELEMENTS = 2**23  # cells times genes of a block: 64 MiB where it is dense and double


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

    A view is read through smaller views and so is neither copied nor made actual. A view of a file
    on disk is the exception: anndata cannot index it again, so that its counts are read in one go.
    """
    read, by_gene, shape = _reader(adata, layer)
    long, wide = shape[::-1] if by_gene else shape
    step = max(1, MAX_ELEMENTS // max(1, wide))
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
    read, _, _ = _reader(adata, layer)
    counts = sparse.csr_matrix(read(cells, slice(None)), dtype=np.float32, copy=True)
    counts.sum_duplicates()
    counts.eliminate_zeros()
    return counts


def matrix_of(adata: AnnData, layer: str | None) -> Any:
    """The matrix itself; of a view this makes a copy of its part."""
    return adata.X if layer is None else adata.layers[layer]


def _reader(
    adata: AnnData, layer: str | None
) -> tuple[Callable[[Any, Any], Any], bool, tuple[int, int]]:
    if adata.is_view and not adata.isbacked:
        by_gene = getattr(matrix_of(adata[:1], layer), "format", "") == "csc"
        return (
            lambda i, j: matrix_of(adata[i, _outer(i, j, adata.n_vars)], layer),
            by_gene,
            adata.shape,
        )
    matrix = matrix_of(adata, layer)
    return lambda i, j: matrix[i, j], getattr(matrix, "format", "") == "csc", adata.shape


def _outer(i: Any, j: Any, n_genes: int) -> Any:
    # Of a view with a step, scipy 1.17 takes an array and a slice for pairs; of two arrays anndata takes the product.
    return np.arange(n_genes)[j] if isinstance(i, np.ndarray) else j


def _triples(matrix: Any) -> Block:
    if sparse.issparse(matrix):
        coo = matrix.tocoo()
        stored = np.flatnonzero(coo.data != 0)  # a zero may be stored too
        return Block(coo.row[stored], coo.col[stored], coo.data[stored])
    dense = np.asarray(matrix)
    cells, genes = np.nonzero(dense)
    return Block(cells, genes, dense[cells, genes])
