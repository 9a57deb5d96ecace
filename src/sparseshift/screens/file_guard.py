"""Refuse a file that would do more to its reader than show its data.

An .h5ad file or .zarr store from a stranger may show another file of this computer in place of its
own data, run code, or ask for more memory than there is. anndata, h5py and zarr do as it says. So it
is refused, from its metadata alone, before anything is read; `screens.hostile` has the rules. The
guard tells nothing of whether the data are right, which is for `screens.check`.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from sparseshift.errors import ScreenError
from sparseshift.screens.hostile.h5ad import h5ad_faults
from sparseshift.screens.hostile.zarr import zarr_faults

if TYPE_CHECKING:
    import h5py
    import zarr

MOST_SHOWN = 10
_LONGEST = 400  # characters of a fault: names in the file are a stranger's


def refuse_hostile(path: Path, name: str | None = None) -> None:
    """Refuse a hostile .h5ad file or, if `path` is a folder, .zarr store.

    Args:
        path: A local file or folder.
        name: What the error calls it; by default its path.

    Raises:
        ScreenError: It is hostile: the object inside, what was found there, and what to do.
        OSError: There is no such file, or it is not HDF5.
    """
    (refuse_hostile_zarr if path.is_dir() else refuse_hostile_h5ad)(path, name)


def refuse_hostile_h5ad(source: "Path | h5py.File", name: str | None = None) -> None:
    """Refuse a hostile .h5ad file; see `screens.hostile.h5ad` for the rules.

    Args:
        source: A local file, or one that is open already, which stays open.
        name: What the error calls it; by default its path.

    Raises:
        ScreenError: It is hostile: the object inside, what was found there, and what to do.
        OSError: There is no such file, or it is not HDF5.
    """
    import h5py

    if isinstance(source, Path):
        with h5py.File(source, "r") as file:
            refuse_hostile_h5ad(file, name or str(source))
        return
    _refuse(name or str(source.filename), h5ad_faults(source), "write_h5ad")


def refuse_hostile_zarr(path: Path, name: str | None = None) -> None:
    """Refuse a hostile .zarr store; see `screens.hostile.zarr` for the rules.

    Chunks are not listed. Read the store as `open_zarr` gives it, which looks at each of them.

    Args:
        path: A local folder.
        name: What the error calls it; by default its path.

    Raises:
        ScreenError: It is hostile: the object inside, what was found there, and what to do.
    """
    _refuse(name or str(path), zarr_faults(path), "write_zarr")


def open_zarr(path: Path, name: str | None = None) -> "zarr.Group":
    """Open a .zarr store that is not hostile.

    Args:
        path: A local folder.
        name: What the error calls it; by default its path.

    Returns:
        The group, for `anndata.io.read_zarr` and `read_elem`. Reading a chunk that is a symbolic
        link, or an array that hid from the guard, raises `ScreenError`.

    Raises:
        ScreenError: It is hostile: the object inside, what was found there, and what to do.
    """
    import zarr

    from sparseshift.screens.hostile.zarr_store import GuardedStore

    refuse_hostile_zarr(path, name)
    return zarr.open_group(GuardedStore(path, read_only=True), mode="r")


def _refuse(name: str, faults: Iterator[str], write: str) -> None:
    found = list(islice(faults, MOST_SHOWN + 1))
    if not found:
        return
    listed = [f"{n}. {_printable(fault)}" for n, fault in enumerate(found[:MOST_SHOWN], start=1)]
    if len(found) > MOST_SHOWN:
        listed.append("... and more")
    raise ScreenError(
        "\n".join(
            [
                f"{name} is refused, and none of its data were read:",
                *listed,
                "Ask where it comes from. If you trust it, write it anew where it was made, with "
                f"adata.{write}(path), which stores all data plainly inside.",
            ]
        )
    )


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)[:_LONGEST]
