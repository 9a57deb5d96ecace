"""A file to cut from: its annotation is read, its matrix stays where it is."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sparseshift.errors import ScreenError
from sparseshift.screens.faults import some


@dataclass(frozen=True)
class Source:
    """An open h5ad file or zarr store.

    Attributes:
        path: Where it is.
        obs: Annotation of its cells.
        var: Annotation of its genes.
        matrix: Its counts, on disk: an array, or a CSR or CSC matrix of anndata.
    """

    path: Path
    obs: pd.DataFrame
    var: pd.DataFrame
    matrix: Any


@contextmanager
def open_source(path: Path, layer: str | None = None) -> Iterator[Source]:
    """Open a file without reading its counts.

    Args:
        path: An h5ad file or a zarr store.
        layer: Which holds the counts; None for X.

    Raises:
        ScreenError: There is no such file, it is not AnnData, it is hostile (`file_guard`), or has no
            such layer.
    """
    import h5py

    from sparseshift.screens.file_guard import open_zarr, refuse_hostile_h5ad

    if not path.exists():
        raise ScreenError(f"There is no file {path}.")
    if path.is_dir():
        yield _source(path, open_zarr(path), layer)
        return
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise ScreenError(
            f"{path} is not an HDF5 file, or was cut short ({error}). Download it again, or give a "
            "file written by anndata."
        ) from error
    with file:
        refuse_hostile_h5ad(file, str(path))
        yield _source(path, file, layer)


def _source(path: Path, group: Any, layer: str | None) -> Source:
    import warnings

    from anndata import OldFormatWarning
    from anndata.io import read_elem

    if missing := {"obs", "var"} - set(group):
        raise ScreenError(
            f"{path} holds no AnnData: it lacks {' and '.join(sorted(missing))}, it has "
            f"{some(sorted(group))}. Convert it with anndata."
        )
    frames = {}
    for name in ("obs", "var"):
        try:
            with warnings.catch_warnings():  # one a column, for files such as Replogle's
                warnings.simplefilter("ignore", OldFormatWarning)
                frames[name] = read_elem(group[name])
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise ScreenError(f"{name} of {path} cannot be read: {error}.") from error
    source = Source(path, frames["obs"], frames["var"], _matrix(path, group, layer))
    shape = (len(source.obs), len(source.var))
    if tuple(source.matrix.shape) != shape:
        raise ScreenError(
            f"The matrix of {path} has the shape {tuple(source.matrix.shape)}, but obs and var say {shape}. "
            "The file was not written whole, or not by anndata: get it again."
        )
    return source


def _matrix(path: Path, group: Any, layer: str | None) -> Any:
    from anndata.io import sparse_dataset

    where = group if layer is None else group.get("layers", {})
    name = "X" if layer is None else layer
    if name not in where:
        layers = some(sorted(group.get("layers", {}))) or "none"
        raise ScreenError(
            f"{path} has no {'X' if layer is None else f'layer {layer!r}'}. Layers: {layers}."
        )
    element = where[name]
    return element if hasattr(element, "dtype") else sparse_dataset(element)
