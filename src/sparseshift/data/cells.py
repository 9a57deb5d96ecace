"""Cells as tensors: counts, label and batch codes, and the design of the labels."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

CHUNK = 2**18  # floats of counts at once, where all cells are gone through


class Cells(NamedTuple):
    """A set of cells on one device, as models take them: a batch.

    Attributes:
        counts: (cells, genes) float32, integer values.
        label: (cells,) int64, row of `design`.
        batch: (cells,) int64, code of the batch; zeros without batches.
        design: (labels, perturbations) float32, shared by all cells.
    """

    counts: Tensor
    label: Tensor
    batch: Tensor
    design: Tensor

    @property
    def n_cells(self) -> int:
        """How many cells there are."""
        return int(self.counts.shape[0])

    @property
    def n_genes(self) -> int:
        """How many genes there are."""
        return int(self.counts.shape[1])

    @property
    def device(self) -> torch.device:
        """Where the cells are."""
        return self.counts.device

    def take(self, index: Tensor) -> "Cells":
        """The cells at these positions, shape (n,) int64."""
        return Cells(
            self.counts.index_select(0, index),
            self.label.index_select(0, index),
            self.batch.index_select(0, index),
            self.design,
        )

    def chunks(self, size: int) -> Iterator["Cells"]:
        """All cells in order, at most `size` at a time."""
        return chunks(self, size)

    def to(self, device: torch.device | str) -> "Cells":
        """The same cells on another device."""
        return Cells(*(tensor.to(device) for tensor in self))


class CellSource(Protocol):
    """Where batches of cells come from: `Cells`, or a `CellStore` that holds them in few bytes."""

    @property
    def n_cells(self) -> int:
        """How many cells there are."""

    @property
    def n_genes(self) -> int:
        """How many genes there are."""

    @property
    def device(self) -> torch.device:
        """Where batches, labels and the design are."""

    @property
    def label(self) -> Tensor:
        """(cells,) int64, row of `design`."""

    @property
    def design(self) -> Tensor:
        """(labels, perturbations) float32."""

    def take(self, index: Tensor) -> Cells:
        """The cells at these positions, shape (n,) int64 on `device`."""

    def chunks(self, size: int) -> Iterator[Cells]:
        """All cells in order, at most `size` at a time."""


def chunk_size(cells: CellSource) -> int:
    """How many cells to go through at once: few floats at a time."""
    return max(1, CHUNK // cells.n_genes)


def chunks(cells: CellSource, size: int) -> Iterator[Cells]:
    """All cells in order, at most `size` at a time; one empty chunk where there are none."""
    for first in range(0, max(1, cells.n_cells), size):
        last = min(first + size, cells.n_cells)
        yield cells.take(torch.arange(first, last, device=cells.device))


def encode_labels(labels: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Codes (cells,) int64 of string labels, and the sorted distinct labels."""
    names, codes = np.unique(np.asarray(labels, dtype=str), return_inverse=True)
    return codes.astype(np.int64), tuple(str(name) for name in names)
