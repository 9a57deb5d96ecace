"""The cells of a screen held in few bytes, from which batches are gathered."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sparseshift.data.cells import Cells, chunks
from sparseshift.data.counts import CountMatrix


@dataclass(frozen=True, eq=False)
class CellStore:
    """Cells whose counts stay where they are and as small as they are; batches are `Cells`.

    Counts may be on the device of the batches, on the host beside an accelerator, or on disk:
    batches are the same numbers. `label`, `batch` and `design` are on the device of the batches.

    Attributes:
        counts: of these cells and perhaps others, which other views of the screen show.
        label: (cells,) int64, row of `design`.
        batch: (cells,) int64, code of the batch; zeros without batches.
        design: (labels, perturbations) float32.
        index: (cells,) int64, the cells' positions in `counts`, and on its device; None: all in order.
    """

    counts: CountMatrix
    label: Tensor
    batch: Tensor
    design: Tensor
    index: Tensor | None = None

    @property
    def n_cells(self) -> int:
        """How many cells there are."""
        return len(self.label)

    @property
    def n_genes(self) -> int:
        """How many genes there are."""
        return self.counts.n_genes

    @property
    def device(self) -> torch.device:
        """Where batches are."""
        return self.label.device

    def tensors(self) -> Iterator[Tensor]:
        """All that the cells are, in an order that does not change."""
        yield from self.counts.tensors().values()
        yield from (self.label, self.batch, self.design)

    def take(self, index: Tensor) -> Cells:
        """The cells at these positions, (n,) int64, as a batch with float32 counts."""
        index = index.to(self.device)
        return Cells(
            self.counts.take(self._places(index), self.device),
            self.label.index_select(0, index),
            self.batch.index_select(0, index),
            self.design,
        )

    def subset(self, index: Tensor) -> "CellStore":
        """The cells at these positions, (n,) int64, on the same counts: nothing but codes is copied."""
        index = index.to(self.device)
        return replace(
            self,
            label=self.label.index_select(0, index),
            batch=self.batch.index_select(0, index),
            index=self._places(index),
        )

    def chunks(self, size: int) -> Iterator[Cells]:
        """All cells in order, at most `size` at a time."""
        return chunks(self, size)

    def whole(self) -> Cells:
        """All cells as one batch, for where they are few."""
        return self.take(torch.arange(self.n_cells, device=self.device))

    def to(self, device: torch.device | str) -> "CellStore":
        """The same cells with everything, counts too, on another device."""
        index = None if self.index is None else self.index.to(device)
        return replace(self.streamed_to(device), counts=self.counts.to(device), index=index)

    def streamed_to(self, device: torch.device | str) -> "CellStore":
        """The same cells with batches on another device; counts stay and are sent batch by batch."""
        codes = {name: getattr(self, name).to(device) for name in ("label", "batch", "design")}
        return replace(self, **codes)

    def _places(self, index: Tensor) -> Tensor:
        places = index.to(self.counts.device)
        return places if self.index is None else self.index.index_select(0, places)
