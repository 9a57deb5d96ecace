"""From a matrix to the smallest storage of its values, in two passes of bounded memory.

The first pass sees which values there are, the second puts them where they stay. Whole numbers take one
byte each up to 255 and two from -32,768 to 32,767; all else is float32, in which whole numbers
are exact up to 16,777,216 and rounded to the nearest beyond, as in any float32 matrix.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from sparseshift.data.counts import CountMatrix, DenseCounts, SparseCounts
from sparseshift.data.parts import Part, Parts

Layout = Literal["auto", "dense", "sparse"]
Allocate = Callable[[tuple[int, ...], np.dtype], np.ndarray]  # an array of zeros

DENSE_SHARE = 0.75  # of the counts as given: a dense batch is gathered several times faster


@dataclass(frozen=True)
class Survey:
    """What the first pass has seen of a matrix.

    Attributes:
        shape: (cells, genes).
        stored: (cells,) int64, non-zero values of each cell.
        totals: (cells,) float64, sum of each cell's values.
        dtype: the smallest that holds all values.
    """

    shape: tuple[int, int]
    stored: np.ndarray
    totals: np.ndarray
    dtype: np.dtype

    @classmethod
    def of(cls, parts: Parts) -> "Survey":
        """One pass over a matrix."""
        stored = np.zeros(parts.shape[0], dtype=np.int64)
        totals = np.zeros(parts.shape[0])
        dtype = np.dtype(np.uint8)
        for part in parts:
            stored[part.cells] += np.diff(part.counts.indptr)
            totals[part.cells] += part.counts @ np.ones(part.counts.shape[1])
            dtype = max(dtype, _dtype_of(part.counts.data), key=lambda d: (d.itemsize, d.kind))
        return cls(parts.shape, stored, totals, dtype)

    @property
    def start_dtype(self) -> np.dtype:
        """Of where each cell's values start."""
        return np.dtype(np.int32 if self.stored.sum() < 2**31 else np.int64)

    @property
    def gene_dtype(self) -> np.dtype:
        """Of the genes' numbers."""
        return np.dtype(np.int16 if self.shape[1] <= 2**15 else np.int32)

    def nbytes(self, layout: Layout = "auto") -> int:
        """Bytes that the counts will take, totals included."""
        n_cells, n_genes = self.shape
        if self.layout(layout) == "dense":
            return n_cells * n_genes * self.dtype.itemsize + 4 * n_cells
        each = self.dtype.itemsize + self.gene_dtype.itemsize
        starts = self.start_dtype.itemsize * (n_cells + 1)
        return int(self.stored.sum()) * each + starts + 4 * n_cells

    @property
    def nbytes_given(self) -> int:
        """Bytes of the same counts as dense float32 or as CSR of float32 and int32, the smaller."""
        n_cells, n_genes = self.shape
        starts = self.start_dtype.itemsize * (n_cells + 1)
        return min(4 * n_cells * n_genes, 8 * int(self.stored.sum()) + starts)

    def layout(self, layout: Layout = "auto") -> Literal["dense", "sparse"]:
        """Dense where that is smaller or at least well below the counts as given, else sparse."""
        if layout != "auto":
            return layout
        dense = self.nbytes("dense")
        cheap = max(self.nbytes("sparse"), DENSE_SHARE * self.nbytes_given)
        return "dense" if dense <= cheap else "sparse"


def compact(
    parts: Parts,
    *,
    survey: Survey | None = None,
    layout: Layout = "auto",
    allocate: Allocate = np.zeros,
) -> CountMatrix:
    """The counts of a matrix in few bytes; what is needed beside them is bounded.

    Args:
        parts: of the matrix (`Parts.of` for one in memory).
        survey: of these parts, if it was made already.
        layout: "auto", "dense" or "sparse"; batches are the same numbers.
        allocate: makes the arrays that the counts stay in, in memory or elsewhere.
    """
    survey = survey or Survey.of(parts)
    totals = torch.from_numpy(survey.totals.astype(np.float32))
    if survey.layout(layout) == "dense":
        values = allocate(survey.shape, survey.dtype)
        for part in parts:
            values[part.cells, part.genes] = part.counts.toarray()
        return DenseCounts(torch.from_numpy(values), totals)
    start = np.concatenate([[0], np.cumsum(survey.stored)])
    genes = allocate((int(start[-1]),), survey.gene_dtype)
    values = allocate((int(start[-1]),), survey.dtype)
    filled = start[:-1].copy()
    for part in parts:
        place = _places(part, filled)
        genes[place] = part.counts.indices + part.first_gene
        values[place] = part.counts.data
    held = {"start": start.astype(survey.start_dtype), "genes": genes, "values": values}
    tensors = {name: torch.from_numpy(array) for name, array in held.items()}
    return SparseCounts(**tensors, totals=totals, n_all_genes=survey.shape[1])


def _dtype_of(values: np.ndarray) -> np.dtype:
    if not values.size:
        return np.dtype(np.uint8)
    least, most = values.min(), values.max()
    if not (least >= -(2**15) and most < 2**15) or (values != np.floor(values)).any():
        return np.dtype(np.float32)
    return np.dtype(np.uint8 if least >= 0 and most < 2**8 else np.int16)


def _places(part: Part, filled: np.ndarray) -> np.ndarray:
    """Where the values of a part go, (values,); `filled`, of each cell so far, moves on."""
    length = np.diff(part.counts.indptr)
    place = np.repeat(filled[part.cells] - part.counts.indptr[:-1], length)
    place += np.arange(len(place))
    filled[part.cells] += length
    return place
