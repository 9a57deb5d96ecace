"""What a file of AnnData holds, found without reading its counts: annotation, matrices, where the counts are."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from sparseshift.errors import ScreenError
from sparseshift.screens.counts import name_of
from sparseshift.screens.faults import some

HEAD = 256  # cells looked at to tell counts from other values
HEAD_GENES = 32  # of a matrix stored by gene
TEXT_BYTES = 64  # of a text in memory, about


@dataclass(frozen=True)
class Matrix:
    """One matrix of a file.

    Attributes:
        where: How it is written in code: `X`, `layers['counts']`, `raw.X`.
        layer: Its name, if it is a layer.
        kind: dense, CSR or CSC.
        dtype: Of its values.
        n_values: Stored ones.
        nbytes: In memory.
        shape: (cells, genes).
        holds_counts: Whether its head is whole numbers, none negative.
    """

    where: str
    layer: str | None
    kind: str
    dtype: str
    n_values: int
    nbytes: int
    shape: tuple[int, int]
    holds_counts: bool


@dataclass(frozen=True)
class Contents:
    """A file and what is in it.

    Attributes:
        path: Where it is.
        obs: Annotation of cells.
        var: Annotation of genes.
        matrices: X first if there is one, then layers, then raw.X.
        nbytes: Of all its data in memory.
        nbytes_on_disk: Of the file; of all files of a store.
    """

    path: Path
    obs: pd.DataFrame
    var: pd.DataFrame
    matrices: tuple[Matrix, ...]
    nbytes: int
    nbytes_on_disk: int

    def matrix(self, layer: str | None) -> Matrix | None:
        """X, or a layer; None where it is not there."""
        return next((m for m in self.matrices if m.where == name_of(layer)), None)

    @property
    def counts(self) -> Matrix | None:
        """The first matrix with counts; raw.X only if no other has them."""
        return next((matrix for matrix in self.matrices if matrix.holds_counts), None)


def look(path: Path) -> Contents:
    """Reads annotation, and the head of each matrix.

    Raises:
        ScreenError: There is no such file, it is hostile, or it is not AnnData.
    """
    with opened(path) as group:
        if missing := {"obs", "var"} - set(group):
            raise ScreenError(
                f"{path} holds no AnnData: it lacks {' and '.join(sorted(missing))}, it has "
                f"{some(sorted(group))}. Convert it with anndata."
            )
        obs, var = (_frame(path, group, name) for name in ("obs", "var"))
        return Contents(path, obs, var, tuple(_matrices(group)), _nbytes(group), _on_disk(path))


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The open file or store, if it is not hostile."""
    import h5py

    from sparseshift.screens.file_guard import open_zarr, refuse_hostile

    if not path.exists():
        raise ScreenError(f"There is no file {path}.")
    if path.is_dir():
        yield open_zarr(path)
        return
    try:
        refuse_hostile(path)
        file = h5py.File(path, "r")
    except OSError as error:
        raise ScreenError(
            f"{path} cannot be read as AnnData ({error}). Give an h5ad file or a zarr store written "
            "by anndata."
        ) from error
    with file:
        yield file


def _frame(path: Path, group: Any, name: str) -> pd.DataFrame:
    import warnings

    from anndata import OldFormatWarning
    from anndata.io import read_elem

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OldFormatWarning)
            return read_elem(group[name])
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise ScreenError(f"{name} of {path} cannot be read: {error}.") from error


def _matrices(group: Any) -> Iterator[Matrix]:
    layers = group.get("layers", {})
    if "X" in group:
        yield _matrix(group["X"], "X", None)
    for layer in sorted(layers):
        yield _matrix(layers[layer], name_of(layer), layer)
    if "raw" in group and "X" in group["raw"]:
        yield _matrix(group["raw"]["X"], "raw.X", None)


def _matrix(element: Any, where: str, layer: str | None) -> Matrix:
    from anndata.io import sparse_dataset

    if hasattr(element, "dtype"):
        head, kind, n_values = element[:HEAD], "dense", int(np.prod(element.shape))
        nbytes, dtype, shape = n_values * element.dtype.itemsize, element.dtype, element.shape
    else:
        stored = sparse_dataset(element)
        kind, dtype, shape = stored.format.upper(), stored.dtype, stored.shape
        head = stored[:, :HEAD_GENES] if kind == "CSC" else stored[:HEAD]
        n_values = int(element["data"].shape[0])
        nbytes = n_values * (dtype.itemsize + element["indices"].dtype.itemsize)
    rows, columns = (int(size) for size in shape)
    return Matrix(
        where, layer, kind, str(dtype), n_values, int(nbytes), (rows, columns), _are_counts(head)
    )


def _are_counts(head: Any) -> bool:
    values = head.data if sparse.issparse(head) else np.asarray(head)
    if values.dtype.kind not in "buif" or not values.any():
        return False
    whole = (values == np.floor(values)) if values.dtype.kind == "f" else np.array(True)
    return bool(np.isfinite(values).all() and (values >= 0).all() and whole.all())


def _nbytes(group: Any) -> int:
    """Of all arrays below, before compression."""
    total = 0
    for name in group:
        element = group[name]
        if hasattr(element, "dtype"):
            each = TEXT_BYTES if element.dtype.kind in "OT" else element.dtype.itemsize
            total += int(np.prod(element.shape, dtype=np.int64)) * each
        else:
            total += _nbytes(element)
    return total


def _on_disk(path: Path) -> int:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)
