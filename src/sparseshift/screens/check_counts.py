"""Faults of the matrix of counts, found in one pass: not counts, not finite, normalised, empty cells."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from anndata import AnnData
from scipy import sparse

from sparseshift.screens.counts import Block, blocks, matrix_of, name_of
from sparseshift.screens.faults import Fault, near, some

HEAD = 256  # cells looked at to tell how values that are not counts came about
# What was done to the counts, and how to undo it up to a factor for each cell.
UNDO: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "log-normalised (log1p)": np.expm1,
    "log-normalised (log2(x + 1))": lambda x: np.exp2(x) - 1,
    "normalised (every cell scaled)": lambda x: x,
}
LARGEST_LOG = 25.0


@dataclass
class _Tally:
    """How many values are wrong in one way, and which is the first."""

    n: int = 0
    first: tuple[int, int, float] | None = None

    def add(self, block: Block, wrong: np.ndarray) -> None:
        places = np.flatnonzero(wrong)
        self.n += len(places)
        if self.first is None and len(places):
            i = places[0]
            self.first = int(block.cells[i]), int(block.genes[i]), float(block.values[i])


@dataclass
class _Scan:
    """What one pass over the matrix has seen."""

    n_values: np.ndarray  # (cells,), non-zero ones
    negative: _Tally = field(default_factory=_Tally)
    infinite: _Tally = field(default_factory=_Tally)
    fractional: _Tally = field(default_factory=_Tally)
    head: list[Block] = field(default_factory=list)

    def add(self, block: Block) -> None:
        self.n_values += np.bincount(block.cells, minlength=len(self.n_values))
        if block.values.dtype.kind not in "bu":
            self.negative.add(block, block.values < 0)
        if block.values.dtype.kind == "f":
            finite = np.isfinite(block.values)
            self.infinite.add(block, ~finite)
            self.fractional.add(block, finite & (block.values != np.floor(block.values)))
        first = block.cells < HEAD
        if first.any():
            self.head.append(Block(*(column[first] for column in block)))


def find_count_faults(
    adata: AnnData, layer: str | None, *, empty_cells_allowed: bool = False
) -> list[Fault]:
    """Every fault of the counts in `X` or the layer, in one pass of bounded memory."""
    if absent := find_layer_faults(adata, layer):
        return absent
    if 0 in adata.shape:
        return []
    scan = _Scan(np.zeros(adata.n_obs, dtype=np.int64))
    for block in blocks(adata, layer):
        if block.values.dtype.kind not in "buif":
            return [_not_numbers(name_of(layer), block)]
        scan.add(block)
    faults = _not_counts(adata, layer, scan)
    if not empty_cells_allowed and not scan.n_values.all():
        faults.append(_empty_cells(adata, layer, scan.n_values == 0))
    return faults


def find_layer_faults(adata: AnnData, layer: str | None) -> list[Fault]:
    """Whether there is a matrix where the counts should be."""
    names = list(adata.layers)
    there_are = f"layers {some(names, 30)}" if names else "no layers at all"
    if layer is not None and layer not in names:
        close = near(layer, names, n=1)
        meant = f"Did you mean {close[0]!r}? Set layer={close[0]!r}. " if close else ""
        cure = f"{meant}Name the layer that holds the counts, or set layer=None to use X."
        return [Fault(name_of(layer), "there is no such layer", there_are, cure)]
    # X of no cells, since X of a view is a copy; a file on disk has one and its views no views.
    if layer is not None or adata.isbacked or matrix_of(adata[:0], None) is not None:
        return []
    return [Fault("X", "there is no matrix", there_are, "Put the counts in X or set layer.")]


def _not_numbers(where: str, block: Block) -> Fault:
    example = repr(block.values[0]) if len(block.values) else ""
    found = f"its values are not real numbers (dtype {block.values.dtype})"
    return Fault(where, found, example, "Store the counts as integers or floats.")


def _not_counts(adata: AnnData, layer: str | None, scan: _Scan) -> list[Fault]:
    total = int(scan.n_values.sum())
    looks = ""
    if scan.fractional.n:
        looks = "; they look scaled or corrected" if scan.negative.n else _looks(scan)
    texts = {
        "are negative": scan.negative,
        "are NaN or infinite": scan.infinite,
        f"are not whole numbers{looks}": scan.fractional,
    }
    if not any(tally.n for tally in texts.values()):
        return []
    cure = _where_counts_are(adata, layer)
    return [
        Fault(
            name_of(layer),
            f"{tally.n} of {total} non-zero values {text}",
            _place(adata, tally),
            cure,
        )
        for text, tally in texts.items()
        if tally.n
    ]


def _place(adata: AnnData, tally: _Tally) -> str:
    cell, gene, value = tally.first or (0, 0, np.nan)
    return f"{value:g} in cell {str(adata.obs_names[cell])!r}, gene {str(adata.var_names[gene])!r}"


def _looks(scan: _Scan) -> str:
    """What was done to the counts, if undoing it gives what counts scaled by cell would be."""
    block = Block(*(np.concatenate(columns) for columns in zip(*scan.head, strict=True)))
    order = np.argsort(block.cells, kind="stable")
    values = block.values[order].astype(np.float64)
    cells = np.split(values, np.flatnonzero(np.diff(block.cells[order])) + 1)
    # A few fractions among counts come from elsewhere, and counts are their own multiples of one.
    if not np.isfinite(values).all() or np.mean(values != np.floor(values)) < 0.5:
        return ""
    for name, undo in UNDO.items():
        if name.startswith("log") and values.max() > LARGEST_LOG:
            continue
        if _scaled_counts([undo(cell) for cell in cells]):
            return f"; they look {name}"
    return ""


def _scaled_counts(cells: list[np.ndarray]) -> bool:
    """Whether all cells have one sum, or most have only whole multiples of their smallest value."""
    sums = np.array([cell.sum() for cell in cells])
    if len(sums) > 2 and np.ptp(sums) < 1e-3 * sums.mean():
        return True
    # The smallest value is a multiple of itself whatever was done, so that it tells nothing.
    multiples = [cell / cell.min() for cell in cells]
    telling = [cell[cell > 1.5] for cell in multiples if cell.max() > 1.5]
    whole = [np.median(np.abs(cell - np.rint(cell))) < 0.02 for cell in telling]
    return len(telling) > 2 and float(np.mean(whole)) > 0.8


def _where_counts_are(adata: AnnData, layer: str | None) -> str:
    others = [name for name in (None, *adata.layers) if name != layer]
    held = [name for name in others if _holds_counts(adata, name)]
    if held:
        return f"Models of counts need raw counts; {name_of(held[0])} holds whole numbers: set layer={held[0]!r}."
    if adata.raw is not None and _are_counts(_head_of_raw(adata)):
        return "Models of counts need raw counts; adata.raw holds whole numbers: adata = adata.raw.to_adata()."
    return "Models of counts need raw counts (whole numbers, 0 or more): give the counts before any normalising, scaling or imputing, in X or in a layer that you name."


def _head_of_raw(adata: AnnData) -> np.ndarray:
    head = adata.raw.X[:HEAD]
    return head.data if sparse.issparse(head) else np.asarray(head)


def _holds_counts(adata: AnnData, layer: str | None) -> bool:
    """Judged by the first block."""
    if find_layer_faults(adata, layer):
        return False
    first = next(blocks(adata, layer), None)
    return first is not None and _are_counts(first.values)


def _are_counts(values: np.ndarray) -> bool:
    if values.dtype.kind not in "buif" or not values.size:
        return False
    return bool(
        np.isfinite(values).all() and (values >= 0).all() and (values == np.floor(values)).all()
    )


def _empty_cells(adata: AnnData, layer: str | None, empty: np.ndarray) -> Fault:
    cells = f"cells {some(adata.obs_names[empty][:3])}"
    cure = "Drop them: the filter min_counts_per_cell=1 does, or sc.pp.filter_cells(adata, min_counts=1)."
    found = f"{empty.sum()} of {adata.n_obs} cells have no counts"
    return Fault(name_of(layer), found, cells, cure)
