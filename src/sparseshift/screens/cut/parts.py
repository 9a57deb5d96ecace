"""Pieces that were read are put away, so that a cut that was stopped goes on where it was."""

import hashlib
import json
import logging
import os
import time
from pathlib import Path

import numpy as np
from scipy import sparse

from sparseshift.errors import ScreenError
from sparseshift.screens.cut.rows import Reader
from sparseshift.screens.cut.source import Source

FORMAT = 1  # of the files
LOG_SECONDS = 10.0

logger = logging.getLogger(__name__)


def read_pieces(reader: Reader, folder: Path, name: str) -> list[Path]:
    """Files with the pieces of a cut, those that are not there yet read first.

    Args:
        reader: Of what is wanted.
        folder: Of this cut alone (`cut_key`).
        name: Of the file, for the log.
    """
    folder.mkdir(parents=True, exist_ok=True)
    progress = _Progress(reader.nbytes, name)
    files = []
    for piece in reader.pieces():
        file = folder / f"{piece.start:012d}.safetensors"
        if file.exists():
            progress.passed(0, there=True)
        else:
            _write(reader.read(piece, progress.passed), file)
        files.append(file)
    progress.end()
    return files


def assemble(files: list[Path], n_columns: int) -> sparse.csr_matrix:
    """The pieces one below the other, with room for no more than one of them besides."""
    lengths = [_read(file, "indptr") for file in files]
    rows = [np.diff(indptr) for indptr in lengths]
    start = np.concatenate([[0], np.cumsum(np.concatenate([*rows, np.zeros(0, dtype=np.int64)]))])
    n_values = int(start[-1])
    wide = n_values > np.iinfo(np.int32).max
    data = np.empty(n_values, dtype=np.float32)
    indices = np.empty(n_values, dtype=np.int64 if wide else np.int32)
    place = 0
    for file in files:
        values = _read(file, "data")
        data[place : place + len(values)] = values
        indices[place : place + len(values)] = _read(file, "indices")
        place += len(values)
    shape = (len(start) - 1, n_columns)
    return sparse.csr_matrix((data, indices, start.astype(indices.dtype)), shape=shape)


def cut_key(source: Source, layer: str | None, cells: np.ndarray, genes: np.ndarray) -> str:
    """Which cut of which file: 32 hexadecimal digits. A file that was changed has another."""
    state = source.path.stat()
    about = [FORMAT, str(source.path.resolve()), state.st_size, state.st_mtime_ns, layer]
    digest = hashlib.sha256(json.dumps(about).encode())
    for positions in (cells, genes):
        digest.update(b"|" + np.ascontiguousarray(positions, dtype=np.int64).tobytes())
    return digest.hexdigest()[:32]


def _write(piece: sparse.csr_matrix, file: Path) -> None:
    from safetensors.numpy import save_file

    arrays = {
        "data": piece.data.astype(np.float32, copy=False),
        "indices": piece.indices.astype(np.int32, copy=False),
        "indptr": piece.indptr.astype(np.int64, copy=False),
    }
    partial = file.with_suffix(f".{os.getpid()}.part")
    try:
        save_file(arrays, partial)
        partial.replace(file)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise ScreenError(
            f"A piece of the cut could not be written to {file.parent} ({error}). Make room there, or "
            "name another folder under checkpoints.folder; what is done is kept."
        ) from error


def _read(file: Path, name: str) -> np.ndarray:
    from safetensors import safe_open

    with safe_open(file, framework="numpy") as arrays:
        return arrays.get_tensor(name)


class _Progress:
    """A line in the log from time to time: how far, how fast."""

    def __init__(self, nbytes: int, name: str) -> None:
        self.nbytes, self.name = max(1, nbytes), name
        self.done, self.pieces_there = 0, 0
        self.began = self.said = time.monotonic()

    def passed(self, nbytes: int, *, there: bool = False) -> None:
        self.done += nbytes
        self.pieces_there += there
        now = time.monotonic()
        if now - self.said > LOG_SECONDS:
            self.said = now
            self._say("Cutting")

    def end(self) -> None:
        if self.pieces_there:
            logger.info("%d pieces of the cut were there already", self.pieces_there)
        if self.done:
            self._say("Cut")

    def _say(self, what: str) -> None:
        seconds = max(1e-9, time.monotonic() - self.began)
        logger.info(
            "%s %s: %.2f of %.2f GB read, %.0f MB/s",
            what, self.name, self.done / 1e9, self.nbytes / 1e9, self.done / 1e6 / seconds,
        )  # fmt: skip
