import math
import time
from pathlib import Path
from typing import Any

import pandas as pd
from kedro.io import DatasetError
from pydantic import BaseModel, ConfigDict

from sparseshift.errors import ScreenError


class Training(BaseModel):
    model_config = ConfigDict(extra="forbid")

    epochs: int = 3
    widths: list[int] = [8, 8]


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    beta: float = 1.0
    training: Training = Training()


def split_cells(screen: pd.DataFrame, fraction: float) -> dict[str, Any]:
    if fraction > 1:
        raise ScreenError(f"split.fraction is {fraction}, it must be at most 1.")
    return {"n_train": round(fraction * len(screen))}


def fit(cells: dict[str, Any], model: Model, what: str) -> tuple[pd.DataFrame, dict[str, Any]]:
    if what == f"sleep in {model.name}":
        Path(f"{model.name}.asleep").touch()
        time.sleep(120)
    if what == "break the store":
        Path("mlflow.db").write_bytes(b"not a database" * 1000)
    epochs = range(model.training.epochs)
    history = pd.DataFrame({"epoch": epochs, "elbo": [-1.0 / (1 + epoch) for epoch in epochs]})
    history["kl"] = [math.nan, *([0.5] * (len(history) - 1))]
    history["note"] = "text"
    # JSON cannot hold an object: a fault in saving, which Kedro reports by no hook of the node.
    beta: Any = object() if what == f"unwritable in {model.name}" else model.beta
    return history, {"model": model.name, "n": cells["n_train"], "beta": beta, "what": what}


def draw(history: pd.DataFrame) -> str:
    return f"picture of {len(history)} epochs"


def score(weights: dict[str, Any]) -> pd.DataFrame:
    if weights["what"] == f"fail in {weights['model']}":
        raise ArithmeticError("the bound is not finite")
    same = {"screen": "papalexi", "model": weights["model"], "split": "held_out", "seed": 0}
    rows = [
        {"metric": "i_nll@100", "subset": "query", "value": 2.0, "lower": 1.0, "upper": 3.0},
        {"metric": "mcc", "subset": "all", "value": weights["beta"]},
        {"metric": "mcc", "subset": "CBL+CNN1", "value": math.inf},
    ]
    return pd.DataFrame([same | row for row in rows])


def compare(*tables: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    return pd.concat(tables), f"# Report\n\n{len(tables)} fits\n"


def stop_here(what: str) -> None:
    if what == "wrapped":
        try:
            raise ScreenError("obs has no column 'gene'.")
        except ScreenError as error:
            raise DatasetError(f"Failed while saving.\n{error}") from error
