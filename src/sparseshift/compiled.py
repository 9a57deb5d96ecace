"""Loops compiled for the CPU by numba, where it is installed; elsewhere torch's operations do.

At 128 cells an operation of torch costs more than its arithmetic. A compiled loop does in one call,
and in one pass over the data, what takes torch ten or thirty. Every loop has a law that holds it to
the operations it stands for.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

try:
    import numba
except ImportError:  # a bare machine with an accelerator
    numba = None

Loop = Callable[..., Any]

LOOPS = ("models", "probability")  # folders of the package whose files have loops

_enabled = True


@cache
def sources_digest() -> str:
    """Of this file and all that may have loops, 8 hexadecimal digits."""
    here = Path(__file__)
    others = (path for folder in LOOPS for path in sorted((here.parent / folder).glob("*.py")))
    sources = b"".join(path.read_bytes() for path in (here, *others))
    return hashlib.sha256(sources).hexdigest()[:8]


def inlined(function: Loop) -> Loop:
    """A part of loops."""
    if numba is None:
        return function
    return numba.njit(inline="always", error_model="numpy")(function)


def compiled(function: Loop) -> Loop:
    """A loop over arrays, compiled when first called and kept on disk for the next process.

    Loops call each other, and what is kept holds those it calls. Numba looks at the file of a loop alone to tell
    whether it is out of date, so that the name it is kept under says what all of them are like.
    """
    if numba is None:
        return function
    function.__qualname__ += f"_{sources_digest()}"
    # sums may be taken in any order, hence 16 terms at a time; NaN and infinity stay what they are
    flags = {"contract", "nsz", "arcp", "reassoc"}
    return numba.njit(cache=True, fastmath=flags, error_model="numpy")(function)


def available() -> bool:
    """Whether there is a compiler of loops."""
    return numba is not None


@contextmanager
def switched_off() -> Iterator[None]:
    """Torch's operations inside, as `torch.vmap` needs them."""
    global _enabled  # noqa: PLW0603 a switch, like torch's own for gradients
    before, _enabled = _enabled, False
    try:
        yield
    finally:
        _enabled = before


def arrays(*tensors: Tensor) -> Iterator[np.ndarray]:
    """Tensors as what loops take: the same memory, without a gradient."""
    return (tensor.detach().numpy() for tensor in tensors)


def usable(*tensors: Tensor) -> bool:
    """Whether these can be given to a loop: float32, contiguous, on the CPU."""
    return (
        _enabled
        and available()
        and not torch.compiler.is_compiling()
        and all(
            t.device.type == "cpu" and t.dtype == torch.float32 and t.is_contiguous()
            for t in tensors
        )
    )
