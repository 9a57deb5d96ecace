"""The two files of a saved model, replaced once both are written whole."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sparseshift._version import __version__


def write_model(
    path: str | Path, content: dict[str, Any], write_weights: Callable[[Path], None]
) -> None:
    """Writes model.json and weights.safetensors into a directory (made if needed).

    Args:
        path: of the directory.
        content: of model.json, beside the version of this package.
        write_weights: writes the weights into a file it is given.
    """
    path = Path(path)
    path.mkdir(parents=True, exist_ok=True)
    write_weights(path / "weights.safetensors.tmp")
    text = json.dumps({"sparseshift": __version__, **content}, indent=1, allow_nan=False)
    (path / "model.json.tmp").write_text(text, encoding="utf-8")
    for name in ("weights.safetensors", "model.json"):
        (path / f"{name}.tmp").replace(path / name)
