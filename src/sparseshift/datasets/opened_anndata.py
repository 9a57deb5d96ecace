"""A stored AnnData opened to be looked into: whole, an AnnData and harmless, or refused."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kedro.io.core import DatasetError

from sparseshift.errors import ScreenError


@contextmanager
def opened_h5ad(path: str, source: Any) -> Iterator[Any]:
    """Open an h5ad file that is sound and not hostile.

    Args:
        path: What the errors call it.
        source: A local path, or a file open for reading.

    Yields:
        The `h5py.File`.

    Raises:
        DatasetError: If it is damaged, hostile, or no AnnData.
    """
    import h5py

    from sparseshift.screens.file_guard import refuse_hostile_h5ad

    with damage_reported(path):
        file = h5py.File(source, "r")
    with file:
        with hostility_reported():
            refuse_hostile_h5ad(file, path)
        if not {"obs", "var"} <= set(file):
            raise DatasetError(
                f"{path} is an HDF5 file but holds no AnnData: it lacks 'obs' or 'var', it has "
                f"{sorted(file)}. Convert it with anndata, or correct the filepath."
            )
        yield file


@contextmanager
def opened_zarr(path: str, source: Path) -> Iterator[Any]:
    """Open a zarr store that is not hostile.

    Args:
        path: What the errors call it.
        source: A local folder.

    Yields:
        The `zarr.Group`; it refuses a chunk that lies elsewhere when it is read.

    Raises:
        DatasetError: If it is hostile.
    """
    from sparseshift.screens.file_guard import open_zarr

    with hostility_reported():
        yield open_zarr(source, path)


@contextmanager
def damage_reported(path: str) -> Iterator[None]:
    """Say what to do when HDF5 cannot make sense of the file.

    Raises:
        DatasetError: In place of an OSError that is about the content.
    """
    try:
        yield
    except OSError as exc:
        if exc.errno is not None:  # a lock, rights, the disk: not what the file holds
            raise
        raise DatasetError(
            f"{path} is not an HDF5 file, or was cut short ({exc}). Delete it and run the node "
            "that saves it, or download it again."
        ) from exc


@contextmanager
def hostility_reported() -> Iterator[None]:
    """Pass on what the file guard says as Kedro's own error.

    Raises:
        DatasetError: In place of a ScreenError, with the same text.
    """
    try:
        yield
    except ScreenError as exc:
        raise DatasetError(str(exc)) from exc
