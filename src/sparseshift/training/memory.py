"""What the interpreter and the allocator do on the side, kept out of the way of training steps."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_BLOCK = 31 * 2**20  # bytes; glibc learns nothing from blocks of 32 MB and more


@contextmanager
def undisturbed() -> Iterator[None]:
    """Freed memory is kept for the next step, and garbage is looked for among new objects only.

    - glibc hands blocks of 128 KB and more back to the system when they are freed, and the next
      step's are zeroed page by page: 1,200 page faults in a likelihood of 1,187 genes, twice its
      time. It raises that limit to the largest block that it has seen freed. Other
      allocators ignore this.
    - Python looks through all objects of torch for cycles every few hundred steps: 4 % of a step
      at 100 genes. They are set aside inside, and put back afterwards.
    """
    torch.empty(_BLOCK, dtype=torch.uint8)
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
