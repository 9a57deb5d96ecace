"""Counts held in few bytes, from which float32 batches are gathered: dense, or compressed by cell."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor


class CountMatrix(ABC):
    """Counts of cells, (cells, genes), as small as their values allow (`data.compact`).

    Attributes:
        totals: (cells,) float32, sum of each cell's counts.
    """

    totals: Tensor

    @property
    @abstractmethod
    def n_genes(self) -> int:
        """How many genes there are."""

    @property
    @abstractmethod
    def dtype(self) -> torch.dtype:
        """Of the stored values: uint8, int16 or float32."""

    @abstractmethod
    def take(self, index: Tensor, device: torch.device | None = None) -> Tensor:
        """The counts of these cells as they would be in a dense float32 matrix.

        Args:
            index: (n,) int64, positions of cells on the device of the counts; any order, repeats too.
            device: where to; None: where the counts are. They travel in their small form.

        Returns:
            (n, genes) float32, contiguous.
        """

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """All that is held, by name."""

    @abstractmethod
    def to(self, device: torch.device | str) -> "CountMatrix":
        """The same counts on another device."""

    @property
    def n_cells(self) -> int:
        """How many cells there are."""
        return len(self.totals)

    @property
    def device(self) -> torch.device:
        """Where the counts are."""
        return self.totals.device

    @property
    def nbytes(self) -> int:
        """Bytes of all that is held."""
        return sum(tensor.nbytes for tensor in self.tensors().values())


@dataclass(frozen=True, eq=False)
class DenseCounts(CountMatrix):
    """All counts, zeros too: a batch is one gather of rows.

    Attributes:
        values: (cells, genes).
        totals: (cells,) float32.
    """

    values: Tensor
    totals: Tensor

    @property
    def n_genes(self) -> int:
        """How many genes there are."""
        return int(self.values.shape[1])

    @property
    def dtype(self) -> torch.dtype:
        """Of the stored values."""
        return self.values.dtype

    def take(self, index: Tensor, device: torch.device | None = None) -> Tensor:
        """See `CountMatrix.take`."""
        return sent(self.values.index_select(0, index), device).float()

    def tensors(self) -> dict[str, Tensor]:
        """See `CountMatrix.tensors`."""
        return {"values": self.values, "totals": self.totals}

    def to(self, device: torch.device | str) -> "DenseCounts":
        """The same counts on another device."""
        return DenseCounts(self.values.to(device), self.totals.to(device))


@dataclass(frozen=True, eq=False)
class SparseCounts(CountMatrix):
    """The non-zero counts, cell after cell: a batch is scattered into zeros.

    Attributes:
        start: (cells + 1,) int32 or int64, where each cell's values start.
        genes: (values,) int16 or int32, gene of each value; each gene at most once a cell.
        values: (values,).
        totals: (cells,) float32.
        n_all_genes: genes, also those without a count.
    """

    start: Tensor
    genes: Tensor
    values: Tensor
    totals: Tensor
    n_all_genes: int

    @property
    def n_genes(self) -> int:
        """How many genes there are."""
        return self.n_all_genes

    @property
    def dtype(self) -> torch.dtype:
        """Of the stored values."""
        return self.values.dtype

    def take(self, index: Tensor, device: torch.device | None = None) -> Tensor:
        """See `CountMatrix.take`."""
        start = self.start.index_select(0, index).long()
        length = self.start.index_select(0, index + 1) - start
        end = length.cumsum(0)
        n_values = int(length.sum())
        row = torch.repeat_interleave(length, output_size=n_values)
        order = torch.arange(n_values, device=row.device)
        place = (start + length - end).index_select(0, row).add_(order)
        genes = sent(self.genes.index_select(0, place), device)
        values = sent(self.values.index_select(0, place), device)
        target = genes.long().add_(sent(row, device), alpha=self.n_genes)
        # a cell has a gene once, so no place is written twice and the order of writing is free
        flat = torch.zeros(len(index) * self.n_genes, device=target.device)
        return flat.scatter_(0, target, values.float()).view(len(index), self.n_genes)

    def tensors(self) -> dict[str, Tensor]:
        """See `CountMatrix.tensors`."""
        held = ("start", "genes", "values", "totals")
        return {name: getattr(self, name) for name in held}

    def to(self, device: torch.device | str) -> "SparseCounts":
        """The same counts on another device."""
        moved = {name: tensor.to(device) for name, tensor in self.tensors().items()}
        return SparseCounts(**moved, n_all_genes=self.n_all_genes)


def sent(tensor: Tensor, device: torch.device | None) -> Tensor:
    """The tensor on a device; from host to CUDA through pinned memory, without waiting."""
    if device is None or tensor.device == device:
        return tensor
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
