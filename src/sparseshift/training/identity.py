"""The name under which the state of a fit is kept: the same name means the same numbers."""

import hashlib
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor


def fit_identity(settings: dict[str, Any], data: Iterable[Tensor]) -> str:
    """A hash of settings, data, and the code that computes.

    Args:
        settings: plain data, everything that the numbers depend on beside the data.
        data: in an order that does not change.

    Returns:
        32 hexadecimal digits.
    """
    digest = hashlib.sha256()
    text = json.dumps(settings, sort_keys=True, allow_nan=True, default=str)
    for part in (text, torch.__version__, _code_digest()):
        digest.update(part.encode() + b"\0")
    for tensor in data:
        whole = np.ascontiguousarray(tensor.cpu().numpy())
        digest.update(f"{whole.dtype.str}{whole.shape}".encode() + b"\0")
        digest.update(whole.data)
    return digest.hexdigest()[:32]


# what lies above `sparseshift.api` and is not imported by it: a new colour of a plot trains nothing
ABOVE = (
    "cli",
    "datasets",
    "honesty",
    "hooks",
    "pipeline_registry",
    "pipelines",
    "plots",
    "report",
    "scoring",
    "study_report",
)


@cache
def _code_digest() -> str:
    """Of every source file below the facade: a version number would miss a local change."""
    digest = hashlib.sha256()
    root = Path(__file__).parents[1]
    for path in sorted(root.rglob("*.py")):
        place = path.relative_to(root)
        if place.parts[0].removesuffix(".py") not in ABOVE:
            digest.update(place.as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
