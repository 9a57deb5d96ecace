"""The arithmetic of matrix products: full float32, TF32, or bfloat16. Everything else is float32."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

PRECISIONS = ("float32", "tf32", "bfloat16")


@contextmanager
def products(precision: str, device: torch.device) -> Iterator[None]:
    """Products inside are made with this precision; what was set before holds afterwards.

    Args:
        precision: "float32"; "tf32", 10 bits of mantissa on accelerators that have it, float32
            elsewhere; "bfloat16", 7 bits, by autocast. Sums stay in float32.
        device: where the products are made.
    """
    if precision == "bfloat16":
        with torch.autocast(device.type, dtype=torch.bfloat16):
            yield
        return
    before = torch.get_float32_matmul_precision()
    if precision == "tf32":
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
