"""Shapes that cannot be meant: far more bytes than the file could hold, or parts that contradict each other."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

# gzip packs at most 1032 bytes into one; a real screen comes nowhere near that.
MOST_PACKED = 1000
ALWAYS_FINE = 2**30  # bytes: this much does no harm, however it is packed


@dataclass(frozen=True)
class Declared:
    """What metadata say of an array or a group.

    Attributes:
        shape: Of an array; None for a group.
        size: Bytes that the array takes once it is read.
        attributes: Of a group: those that `contradictions` looks at.
    """

    shape: tuple[int, ...] | None = None
    size: int = 0
    attributes: Mapping[str, Any] = field(default_factory=dict)


ATTRIBUTES = ("encoding-type", "shape", "h5sparse_format", "h5sparse_shape", "_index")


def array_size(shape: tuple[int, ...], chunks: tuple[int, ...], itemsize: int) -> int:
    """Bytes that reading takes: of the array, or of one chunk if that is larger."""
    return max(math.prod(shape), math.prod(chunks)) * itemsize


def absurd_size(nodes: Mapping[str, Declared], stored: Callable[[int], int]) -> Iterator[str]:
    """Tell of arrays that are larger than anything packed into the stored bytes could be.

    Args:
        nodes: By path.
        stored: Given how many bytes are enough, how many are stored; it may stop counting there.

    Yields:
        At most one fault, which names the largest array.
    """
    total = sum(node.size for node in nodes.values())
    enough = math.ceil((total - ALWAYS_FINE) / MOST_PACKED)
    if enough <= 0 or (found := stored(enough)) >= enough:
        return
    where, largest = max(nodes.items(), key=lambda item: item[1].size)
    yield (
        f"{where}: its shape {largest.shape} means {_readable(largest.size)}, all arrays together "
        f"{_readable(total)}, but no more than {_readable(found)} are stored"
    )


def contradictions(nodes: Mapping[str, Declared]) -> Iterator[str]:
    """Tell of sparse matrices that contradict themselves, and of matrices that contradict obs or var.

    Args:
        nodes: By path, such as "X" and "obs/gene".

    Yields:
        One fault for each matrix.
    """
    for where, node in nodes.items():
        if _sparse_format(node):
            yield from _inside_sparse(nodes, where)
    cells = _length(nodes, "obs")
    layers = [where for where in nodes if where.startswith("layers/") and where.count("/") == 1]
    for where, columns in [(path, "var") for path in ["X", *layers]] + [("raw/X", "raw/var")]:
        shape = _matrix_shape(nodes.get(where, Declared()))
        expected = cells, _length(nodes, columns)
        # Old files keep a matrix of one gene as a vector.
        if shape and len(shape) == 2 and not _fits(shape, expected):
            yield (
                f"{where}: its shape is {shape}, but obs has {expected[0]} rows and {columns} "
                f"has {expected[1]}"
            )


def _inside_sparse(nodes: Mapping[str, Declared], where: str) -> Iterator[str]:
    shape = _matrix_shape(nodes[where])
    if shape is None or len(shape) != 2:
        yield f"{where}: a sparse matrix without a shape of two numbers"
        return
    rows = shape[0] if "csr" in _sparse_format(nodes[where]) else shape[1]
    pointers, indices, data = (
        nodes.get(f"{where}/{part}", Declared()).shape for part in ("indptr", "indices", "data")
    )
    # What is missing is for anndata to tell.
    if pointers not in {None, (rows + 1,)}:
        yield f"{where}: a sparse matrix of shape {shape}, with indptr of shape {pointers}"
    if None not in {indices, data} and indices != data:
        yield f"{where}: a sparse matrix with indices of shape {indices} for data of shape {data}"


def _sparse_format(node: Declared) -> str:
    for name in ("encoding-type", "h5sparse_format"):
        found = _text(node.attributes.get(name, ""))
        if found.startswith(("csr", "csc")):
            return found
    return ""


def _matrix_shape(node: Declared) -> tuple[int, ...] | None:
    if node.shape is not None or not _sparse_format(node):
        return node.shape
    stated = node.attributes.get("shape", node.attributes.get("h5sparse_shape", ()))
    try:
        return tuple(int(length) for length in stated)
    except (TypeError, ValueError):
        return None


def _length(nodes: Mapping[str, Declared], table: str) -> int | None:
    node = nodes.get(table, Declared())
    index = f"{table}/{_text(node.attributes.get('_index', '_index'))}"
    # A table is a record array in old files; its index may be a categorical or nullable one.
    for path in (table, index, f"{index}/codes", f"{index}/values"):
        if shape := nodes.get(path, Declared()).shape:
            return shape[0]
    return None


def _fits(shape: tuple[int, ...], expected: tuple[int | None, ...]) -> bool:
    return all(want in {None, have} for have, want in zip(shape, expected, strict=True))


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _readable(n_bytes: int) -> str:
    size, units = float(n_bytes), ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]
    while size >= 1024 and len(units) > 1:
        size /= 1024
        units.pop(0)
    return f"{size:.3g} {units[0]}"
