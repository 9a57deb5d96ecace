import math
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from pydantic import BaseModel

from sparseshift.errors import OptionError
from sparseshift.hooks import records


class Training(BaseModel):
    widths: tuple[int, ...] = (8, 4)
    device: str | None = None


@dataclass
class Model:
    name: str
    training: Training


def test_flatten_reaches_into_models_and_keeps_lists_whole() -> None:
    value = {"vae": Model("vae", Training()), "empty": {}, "lr": 1e-3}
    assert records.flatten(value, "models") == {
        "models.vae.name": "vae",
        "models.vae.training.widths": "[8, 4]",
        "models.vae.training.device": "null",
        "models.empty": "{}",
        "models.lr": "0.001",
    }


def test_prefix_is_dropped_at_a_dot_only() -> None:
    assert records.without_prefix("models.vae.lr", "models.vae") == "lr"
    assert records.without_prefix("models.vae_plus.lr", "models.vae") == "models.vae_plus.lr"


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("CBL+CNN1", "CBL_CNN1"),
        ("/a//b/", "a/b"),
        ("i_nll@100", "i_nll_100"),
        ("x" * 300, "x" * 250),
    ],
)
def test_clean_key(name: str, clean: str) -> None:
    assert records.clean_key(name) == clean


def test_metrics_of_several_models_do_not_overwrite_one_another() -> None:
    table = pd.DataFrame(
        {
            "model": ["vae", "svae"],
            "split": "a",
            "metric": "mcc",
            "subset": [None, "all"],
            "value": [1, 2],
        }
    )
    assert records.metric_points(table) == ([("vae/mcc", 1.0, 0), ("svae/mcc/all", 2.0, 0)], 0)


def test_values_that_are_not_finite_are_counted_and_bounds_just_skipped() -> None:
    table = pd.DataFrame(
        {"metric": ["a", "b"], "value": [math.inf, 1.0], "lower": [0.0, math.nan], "upper": None}
    )
    assert records.metric_points(table) == ([("a/lower", 0.0, 0), ("b", 1.0, 0)], 1)


def test_history_has_the_epoch_as_step() -> None:
    table = pd.DataFrame({"epoch": [5, 6], "elbo": [-2, math.nan], "phase": ["fit", "fit"]})
    assert records.history_points(table) == ([("elbo", -2.0, 5)], 1)


def test_epochs_of_later_phases_do_not_fall_on_earlier_ones() -> None:
    table = pd.DataFrame({
        "phase": [0, 0, 1], "epoch": [1, 2, 1], "total_epoch": [1, 2, 3],
        "elbo": [-1.0, -2.0, -3.0], "best": [False, False, True],
    })  # fmt: skip
    points, _ = records.history_points(table)
    elbo = [point for point in points if point[0] == "elbo"]
    assert elbo == [("elbo", -1.0, 1), ("elbo", -2.0, 2), ("elbo", -3.0, 3)]
    assert {key for key, _, _ in points} == {"phase", "elbo"}


@pytest.mark.parametrize("function", [records.metric_points, records.history_points])
def test_tables_of_another_form_are_refused(function: object) -> None:
    assert callable(function)
    with pytest.raises(ValueError, match="should be a pandas DataFrame but is a dict"):
        function({"value": 1})
    with pytest.raises(ValueError, match=r"it has no column .* but loss"):
        function(pd.DataFrame({"loss": [1]}))


def test_unknown_kind_is_refused_with_the_known_ones() -> None:
    dataset = SimpleNamespace(metadata={"mlflow": {"kind": "metric"}})
    with pytest.raises(OptionError, match=r"'curves'.* is 'metric'; it can be figure, history"):
        records.kind_of(dataset, "curves")
    assert records.kind_of(SimpleNamespace(metadata=None), "curves") is None
    assert records.kind_of(None, "curves") is None


def test_path_of_a_dataset_that_is_elsewhere_is_none(tmp_path: Path) -> None:
    there = SimpleNamespace(_filepath=tmp_path, _protocol="file")
    assert records.local_path(there) == tmp_path
    assert records.local_path(SimpleNamespace(_filepath=tmp_path, _protocol="s3")) is None
    assert records.local_path(SimpleNamespace(_filepath=tmp_path / "none")) is None
    assert records.local_path(object()) is None


def test_digest_of_a_large_file_sees_its_size_and_both_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "HASHED_WHOLE", 10)
    monkeypatch.setattr(records, "HASHED_ENDS", 4)
    file = tmp_path / "file"

    def digest(content: bytes) -> str:
        file.write_bytes(content)
        return records.file_digest(file)

    assert digest(b"0123456789") == "84d89877f0d4041e"
    large = digest(b"start middle end")
    assert large.startswith("~")
    assert digest(b"start MIDDLE end") == large
    assert (
        len(
            {
                large,
                digest(b"START middle end"),
                digest(b"start middle END"),
                digest(b"start  end"),
            }
        )
        == 4
    )
