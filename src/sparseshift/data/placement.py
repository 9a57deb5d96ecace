"""Where the counts of a fit are kept: in memory or on disk, and on the accelerator or beside it."""

from pathlib import Path

import numpy as np
import torch

from sparseshift.data.cell_store import CellStore
from sparseshift.data.compact import Allocate
from sparseshift.data.memory_map import zeros_on_disk
from sparseshift.errors import OptionError

STORAGES = ("auto", "memory", "disk")
SHARE = 0.5  # of the memory available that the counts may take


def check_storage(storage: str) -> None:
    """Whether `storage` is one of `STORAGES`.

    Raises:
        OptionError: it is not.
    """
    if storage not in STORAGES:
        names = ", ".join(map(repr, STORAGES))
        raise OptionError(f"storage={storage!r} is not one of {names}.")


def allocator(storage: str, nbytes: int, *, from_file: bool) -> Allocate:
    """What makes the arrays of the counts.

    Args:
        storage: "memory", "disk", or "auto": disk if the screen is a file opened in backed mode, or
            its counts take more than half of the memory that is available.
        nbytes: of the counts.
        from_file: whether the screen is a file in backed mode.
    """
    available = available_memory()
    short = available is not None and nbytes > SHARE * available
    if storage == "disk" or (storage == "auto" and (from_file or short)):
        return zeros_on_disk
    return np.zeros


def place(cells: CellStore, device: torch.device, storage: str) -> CellStore:
    """The cells with their batches on a device, and their counts too if they are to be and there is room.

    Counts that are asked to stay on disk, or would take more than half of an accelerator's free
    memory, are sent batch by batch.
    """
    room = True
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        room = cells.counts.nbytes <= SHARE * free
    return cells.to(device) if room and storage != "disk" else cells.streamed_to(device)


def available_memory() -> int | None:
    """Bytes that this machine can give without swapping; None where it does not say (not Linux)."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    kilobytes = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(kilobytes[0]) * 1024 if kilobytes else None
