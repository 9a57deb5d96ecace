"""The counts of a file, all of them, or of a sample where there are too many."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import sparse

from sparseshift.screens.cut.rows import reader_of
from sparseshift.screens.cut.source import open_source

WHOLE_BYTES = 2 * 10**9  # of a matrix in memory: a larger one is sampled
N_BLOCKS, BLOCK = 8, 512  # of cells that follow each other, spread over the file
N_GENES = 64  # of a large matrix stored by gene


@dataclass(frozen=True)
class Sample:
    """Counts that were read.

    Attributes:
        counts: (cells, genes) float32.
        cells: Their positions in the file.
        genes: Their positions in the file.
        is_whole: Whether these are all that were asked for.
    """

    counts: sparse.csr_matrix
    cells: np.ndarray
    genes: np.ndarray
    is_whole: bool


def read_sample(path: Path, layer: str | None, cells: np.ndarray, genes: np.ndarray) -> Sample:
    """The counts of cells and genes, or some of them.

    Args:
        path: h5ad file or zarr store.
        layer: With the counts; None: X.
        cells: Positions in the file, increasing.
        genes: The same.
    """
    nothing = sparse.csr_matrix((len(cells), len(genes)), dtype=np.float32)
    if not (len(cells) and len(genes)):
        return Sample(nothing, cells, genes, is_whole=True)
    with open_source(path, layer) as source:
        reader = reader_of(source.matrix, cells, genes)
        is_whole = reader.nbytes <= WHOLE_BYTES
        if not is_whole:
            few = _spread(genes, N_GENES, 1) if reader.by_gene else genes
            some = cells if reader.by_gene else _spread(cells, N_BLOCKS, BLOCK)
            cells, genes = some, few
            reader = reader_of(source.matrix, cells, genes)
        pieces = [reader.read(piece, lambda _: None) for piece in reader.pieces()]
        if not pieces:  # nothing is stored at all
            return Sample(nothing[: len(cells), : len(genes)], cells, genes, is_whole)
        counts = sparse.vstack(pieces, format="csr")
        return Sample(counts.T.tocsr() if reader.by_gene else counts, cells, genes, is_whole)


def _spread(positions: np.ndarray, n_blocks: int, length: int) -> np.ndarray:
    """Blocks of positions at even distances."""
    starts = np.linspace(0, max(0, len(positions) - length), n_blocks).astype(np.int64)
    chosen = np.unique(np.concatenate([np.arange(s, s + length) for s in starts]))
    return positions[chosen[chosen < len(positions)]]
