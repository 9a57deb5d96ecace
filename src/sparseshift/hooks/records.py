"""From Kedro's objects to what MLflow stores: flat strings, numbers by name, files.

Pure functions; none of them imports MLflow. A dataset is logged when its catalog entry says so:

    "{screen}.{split}.{model}.seed_{seed}.history":
      metadata: {mlflow: {kind: history}}
"""

import dataclasses
import hashlib
import json
import math
import posixpath
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel

from sparseshift.errors import OptionError

FILE_FOLDERS = {"figure": "figures", "table": "tables", "json": "json", "text": "text"}
KINDS = frozenset({"metrics", "history", "input", *FILE_FOLDERS})
LONGEST_KEY = 250
LONGEST_PARAM = 6000
HASHED_WHOLE = 4 * 2**30
HASHED_ENDS = 64 * 2**20

Point = tuple[str, float, int]  # key, value, step


def kind_of(dataset: object, name: str) -> str | None:
    """Kind under which a dataset is logged, from its catalog metadata; None if it is not.

    Raises:
        OptionError: For a kind that does not exist.
    """
    metadata = getattr(dataset, "metadata", None) or {}
    kind = (metadata.get("mlflow") or {}).get("kind")
    if kind is not None and kind not in KINDS:
        raise OptionError(
            f"Catalog entry '{name}': metadata.mlflow.kind is '{kind}'; "
            f"it can be {', '.join(sorted(KINDS))}."
        )
    return kind


def plain(value: Any) -> Any:
    """The same value in the types of JSON; pydantic models and dataclasses become dicts."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain(dataclasses.asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(entry) for entry in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def flatten(value: Any, prefix: str = "") -> dict[str, str]:
    """Flat strings `a.b.c` of nested values; lists stay one entry, written as JSON."""
    value = plain(value)
    if isinstance(value, dict) and value:
        return {
            path: text
            for key, entry in value.items()
            for path, text in flatten(entry, f"{prefix}.{key}" if prefix else key).items()
        }
    return {prefix: value if isinstance(value, str) else json.dumps(value)}


def without_prefix(name: str, *prefixes: str) -> str:
    """`name` without the first of the dotted prefixes that it starts with."""
    for prefix in prefixes:
        if prefix and name.startswith(f"{prefix}."):
            return name.removeprefix(f"{prefix}.")
    return name


def clean_key(name: str) -> str:
    """The nearest name that MLflow accepts for a parameter or metric."""
    name = posixpath.normpath(re.sub(r"[^\w.\-/ ]", "_", name)).strip("/.")
    return name[:LONGEST_KEY]


def metric_points(table: Any) -> tuple[list[Point], int]:
    """Metrics `metric/subset` of a tidy table, and how many values were not finite.

    Where the table compares several screens, models, splits or seeds, those names come first,
    else the rows would overwrite one another.

    Raises:
        ValueError: If it is not a table with columns `metric` and `value`.
    """
    _require_columns(table, "metric", "value")
    compared = [
        column
        for column in ("screen", "split", "model", "seed")
        if column in table and table[column].nunique() > 1
    ]
    points, not_finite = [], 0
    for row in table.to_dict("records"):
        parts = [row[column] for column in [*compared, "metric"]] + [row.get("subset")]
        name = "/".join(str(part) for part in parts if not (pd.isna(part) or part == ""))
        not_finite += not _finite(row["value"])
        points += [
            (clean_key(key), float(number), 0)
            for key, number in [
                (name, row["value"]),
                (f"{name}/lower", row.get("lower")),
                (f"{name}/upper", row.get("upper")),
            ]
            if _finite(number)
        ]
    return points, not_finite


def history_points(table: Any) -> tuple[list[Point], int]:
    """The numeric columns of a training history by epoch, and how many were not finite.

    Where the history has phases, each with epochs of its own, a column total_epoch counts them all.

    Raises:
        ValueError: If it is not a table with a column `epoch`.
    """
    _require_columns(table, "epoch")
    by = "total_epoch" if "total_epoch" in table else "epoch"
    numbers = table.drop(columns=["epoch", *({by} - {"epoch"})]).select_dtypes("number")
    points = [
        (clean_key(str(column)), float(value), int(epoch))
        for column in numbers
        for epoch, value in zip(table[by], numbers[column], strict=True)
    ]
    finite = [point for point in points if math.isfinite(point[1])]
    return finite, len(points) - len(finite)


def local_path(dataset: Any) -> Path | None:
    """The file or folder of a dataset on this machine, of the version in use; else None."""
    # A versioned dataset that was just saved resolves its load path to that version; its save
    # path cannot be asked for, because it must not exist yet.
    resolve = getattr(dataset, "_get_load_path", None)
    path = resolve() if resolve else getattr(dataset, "_filepath", getattr(dataset, "_path", None))
    if path is None or getattr(dataset, "_protocol", "file") not in {"file", "local", ""}:
        return None
    path = Path(str(path))
    return path if path.exists() else None


def file_digest(path: Path) -> str:
    """First 16 hexadecimal digits of a file's sha256.

    Of a file over 4 GiB only the size and both ends are hashed, since minutes of reading before
    each run are not worth it; such a digest starts with `~`.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= HASHED_WHOLE:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
        digest = hashlib.sha256(str(size).encode())
        digest.update(file.read(HASHED_ENDS))
        file.seek(-HASHED_ENDS, 2)
        digest.update(file.read())
    return f"~{digest.hexdigest()[:16]}"


def _require_columns(table: Any, *columns: str) -> None:
    if not isinstance(table, pd.DataFrame):
        raise ValueError(f"it should be a pandas DataFrame but is a {type(table).__name__}")
    if missing := [column for column in columns if column not in table]:
        raise ValueError(f"it has no column {', '.join(missing)} but {', '.join(map(str, table))}")


def _finite(value: Any) -> bool:
    return value is not None and not pd.isna(value) and math.isfinite(value)
