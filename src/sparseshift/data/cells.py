"""Cells as tensors: counts, label and batch codes, and the design of the labels."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Cells(NamedTuple):
    """A set of cells on one device.

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

    def take(self, index: Tensor) -> "Cells":
        """The cells at these positions, shape (n,) int64."""
        return Cells(
            self.counts.index_select(0, index),
            self.label.index_select(0, index),
            self.batch.index_select(0, index),
            self.design,
        )

    def to(self, device: torch.device | str) -> "Cells":
        """The same cells on another device."""
        return Cells(*(tensor.to(device) for tensor in self))


def encode_labels(labels: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Codes (cells,) int64 of string labels, and the sorted distinct labels."""
    names, codes = np.unique(np.asarray(labels, dtype=str), return_inverse=True)
    return codes.astype(np.int64), tuple(str(name) for name in names)
