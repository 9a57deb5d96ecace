"""Arithmetic on one thread: a batch of 128 cells is too small to share out."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch and BLAS use one CPU thread inside; what they used before, afterwards.

    Two threads double the CPU time of a training step and save no wall time; beside another
    process they wait for each other and make it several times slower.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1, "blas"):
            yield
    finally:
        torch.set_num_threads(before)
