"""How much memory and time a screen will take, from its size and measured speeds (docs/benchmarks.md)."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from scipy import sparse

from sparseshift.data.compact import Survey
from sparseshift.data.placement import SHARE, available_memory
from sparseshift.screens.cut.rows import BLOCK_BYTES, PIECE_BYTES
from sparseshift.screens.doctor.contents import Contents
from sparseshift.screens.doctor.settings import Settings

# docs/benchmarks.md, "Growth of cost": svae_plus, 128 cells a step, one thread of an AMD EPYC.
SECONDS_A_CELL = 13e-6  # and epoch
SECONDS_A_CELL_AND_GENE = 25e-9
# docs/benchmarks.md: `kedro run --env test`, a screen that takes almost nothing itself.
PROCESS_BYTES = 900 * 10**6
CSR_BYTES = 8  # a stored value of float32 with its position


@dataclass(frozen=True)
class Fit:
    """How long one model is trained; what is not said is as in conf/base.

    Attributes:
        steps: Gradient steps.
        batch_size: Cells a step.
        max_epochs: Passes over the cells; None: as many as make the steps, rounded up.
    """

    steps: int = 1500
    batch_size: int = 256
    max_epochs: int | None = None

    def seconds(self, n_cells: int, n_genes: int) -> float:
        """On one core, at the speed of svae_plus."""
        epochs = self.max_epochs or ceil(self.steps * self.batch_size / max(1, n_cells))
        return epochs * n_cells * (SECONDS_A_CELL + SECONDS_A_CELL_AND_GENE * n_genes)


BASE = (Fit(),) * 8  # run.fits of conf/base: four models, two seeds


@dataclass(frozen=True)
class Size:
    """What a model sees of a screen, after the filters.

    Attributes:
        n_cells: Trained on, about.
        n_genes: Chosen, at most.
        n_values: Non-zero counts of these, at most.
        largest: Count.
    """

    n_cells: int
    n_genes: int
    n_values: int
    largest: float

    @classmethod
    def of(
        cls, counts: sparse.csr_matrix, n_top: int | None, *, n_cells: int, n_genes: int
    ) -> "Size":
        """From counts, which may be those of a sample of `n_cells` cells and of all genes or some of `n_genes`.

        As if the genes with most non-zero counts were chosen, which models see no more of.
        """
        chosen = n_genes if n_top is None else min(n_top, n_genes)
        filled = np.sort(counts.getnnz(axis=0))[::-1] / max(1, counts.shape[0])
        if counts.shape[1] < n_genes:
            density = float(filled.mean()) * chosen if len(filled) else 0.0
        else:
            density = float(filled[:chosen].sum())
        largest = float(counts.data.max()) if counts.nnz else 0.0
        return cls(n_cells, chosen, round(density * n_cells), largest)

    @property
    def dtype(self) -> np.dtype:
        """In which training keeps counts."""
        if self.largest < 2**8:
            return np.dtype(np.uint8)
        return np.dtype(np.int16 if self.largest < 2**15 else np.float32)

    @property
    def survey(self) -> Survey:
        """As training would make it."""
        return Survey(
            (self.n_cells, self.n_genes), np.array([self.n_values]), np.zeros(1), self.dtype
        )


@dataclass(frozen=True)
class Estimates:
    """Of one core.

    Attributes:
        loading: Bytes while the file is read, checked and filtered, without the process itself.
        training: Bytes of the counts of one fit.
        layout: dense or sparse, as training keeps them.
        dtype: Of a count there.
        n_cells: Trained on.
        n_genes: That models see, at most.
        longest: Seconds of the longest fit.
        seconds: Of all fits, one after the other.
        n_fits: Of the run.
        available: Bytes of memory of this machine; None if it does not say.
    """

    loading: int
    training: int
    layout: str
    dtype: str
    n_cells: int
    n_genes: int
    longest: float
    seconds: float
    n_fits: int
    available: int | None

    @property
    def fits_in_memory(self) -> bool:
        """Whether this machine can read and filter the screen."""
        return self.available is None or self.loading + PROCESS_BYTES <= self.available


def estimate(
    contents: Contents, settings: Settings, size: Size, fits: Sequence[Fit], n_read: int
) -> Estimates:
    """Memory and time of a run.

    Args:
        contents: The file.
        settings: How it is used.
        size: What models see of it.
        fits: Of the run.
        n_read: Non-zero counts before the filters.
    """
    seconds = [fit.seconds(size.n_cells, size.n_genes) for fit in fits]
    return Estimates(
        loading=loading_bytes(contents, settings, n_read),
        training=size.survey.nbytes(),
        layout=size.survey.layout(),
        dtype=size.dtype.name,
        n_cells=size.n_cells,
        n_genes=size.n_genes,
        longest=max(seconds, default=0.0),
        seconds=sum(seconds),
        n_fits=len(seconds),
        available=available_memory(),
    )


def loading_bytes(contents: Contents, settings: Settings, n_read: int) -> int:
    """While a screen is read and filtered: what is loaded, its counts as CSR, and what is left of them."""
    copies = 2 * CSR_BYTES * n_read
    if settings.cut is None:
        return contents.nbytes + copies
    return CSR_BYTES * n_read + max(copies, BLOCK_BYTES + min(PIECE_BYTES, CSR_BYTES * n_read))


def is_too_large(contents: Contents) -> bool:
    """Whether a file read whole would take more than half of the memory that is available."""
    counts = contents.counts
    available = available_memory()
    if counts is None or available is None:
        return False
    as_it_is = contents.nbytes + 2 * CSR_BYTES * _stored(contents)
    return as_it_is + PROCESS_BYTES > SHARE * available


def _stored(contents: Contents) -> int:
    """Non-zero counts, if a fifth of a dense matrix is."""
    counts = contents.counts
    if counts is None:
        return 0
    return counts.n_values // 5 if counts.kind == "dense" else counts.n_values
