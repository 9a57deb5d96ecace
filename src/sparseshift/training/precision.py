"""The arithmetic of matrix products on accelerators: full float32, or TF32."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

PRECISIONS = ("float32", "tf32")


@contextmanager
def products(precision: str) -> Iterator[None]:
    """Products inside are made with this precision; what was set before holds afterwards.

    Args:
        precision: "float32", or "tf32": 10 bits of mantissa where the device has it (NVIDIA from
            Ampere on), float32 elsewhere. Sums stay in float32.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
