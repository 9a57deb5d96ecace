"""Arrays in a temporary file: the system reads what is used and forgets it when memory is short."""

import os
import tempfile
from pathlib import Path

import numpy as np


def zeros_on_disk(
    shape: tuple[int, ...], dtype: np.dtype, directory: Path | None = None
) -> np.ndarray:
    """An array of zeros in a file without a name, which is gone when the array is.

    Nothing is left behind, whatever ends the process.

    Args:
        shape: of the array.
        dtype: of its values.
        directory: of the file; None: that of `tempfile` (TMPDIR), which must not itself be in memory.

    Raises:
        OSError: the disk has no room for it.
    """
    nbytes = int(np.prod(shape)) * dtype.itemsize
    if nbytes == 0:
        return np.zeros(shape, dtype)
    with tempfile.TemporaryFile(dir=directory) as file:
        if hasattr(os, "posix_fallocate"):
            # a file with holes kills the process (SIGBUS) when the disk is full
            os.posix_fallocate(file.fileno(), 0, nbytes)
        return np.memmap(file, dtype=dtype, mode="w+", shape=shape)
