"""Laws of ModelDataset: a folder with a model.json, replaced as a whole."""

import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from kedro.io import DataCatalog, DatasetError

from sparseshift.datasets import ModelDataset


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class Model:
    """Stands in for a trained model: some files, the number of them its only content."""

    def __init__(self, files: int) -> None:
        self.files = files

    def save(self, path: Path) -> None:
        for number in range(self.files):
            (path / f"weights{number}").write_text(str(number))
        (path / "model.json").write_text(str(self.files))


class Failing(Model):
    def save(self, path: Path) -> None:
        super().save(path)
        raise KeyboardInterrupt


class Unmarked(Model):
    def save(self, path: Path) -> None:
        super().save(path)
        (path / "model.json").unlink()


@pytest.fixture(autouse=True)
def _api(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(path: Path) -> Model:
        model = Model(int((path / "model.json").read_text()))
        assert len(names(path)) == model.files + 1, "files of two models are mixed"
        return model

    api = ModuleType("sparseshift.api")
    api.__dict__["load"] = load
    monkeypatch.setitem(sys.modules, "sparseshift.api", api)


@pytest.fixture
def dataset(tmp_path: Path) -> ModelDataset:
    return ModelDataset(filepath=tmp_path / "models" / "model")


def test_round_trip(dataset: ModelDataset, tmp_path: Path) -> None:
    assert not dataset.exists()
    for files in (3, 1):
        dataset.save(Model(files))
        assert dataset.exists()
        assert dataset.load().files == files
    assert names(tmp_path / "models") == ["model"]


SAVE_HALF = """
import sys, time
from sparseshift.datasets import ModelDataset

class Model:
    def save(self, path):
        (path / "model.json").write_text("9")
        print("ready", flush=True)
        time.sleep(60)

ModelDataset(filepath=sys.argv[1]).save(Model())
"""


@pytest.mark.parametrize("existed", [True, False])
def test_killed_save_changes_nothing(
    dataset: ModelDataset, existed: bool, tmp_path: Path, killed: Callable[..., None]
) -> None:
    if existed:
        dataset.save(Model(2))
    killed(SAVE_HALF, str(tmp_path / "models" / "model"))
    assert any(name.endswith(".tmp") for name in names(tmp_path / "models"))
    assert dataset.exists() == existed
    if existed:
        assert dataset.load().files == 2
    dataset.save(Model(1))
    assert dataset.load().files == 1
    assert names(tmp_path / "models") == ["model"]


def test_failed_save_changes_nothing(dataset: ModelDataset, tmp_path: Path) -> None:
    dataset.save(Model(2))
    with pytest.raises(KeyboardInterrupt):
        dataset.save(Failing(1))
    with pytest.raises(DatasetError, match=r"Unmarked\.save wrote no model\.json; .* as it was"):
        dataset.save(Unmarked(1))
    assert dataset.load().files == 2
    assert names(tmp_path / "models") == ["model"]


def test_folder_without_marker_is_no_model_and_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    dataset = ModelDataset(filepath=tmp_path / "mine")
    assert not dataset.exists()
    with pytest.raises(DatasetError, match=r"no model at .*mine: no model\.json in it"):
        dataset.load()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(DatasetError, match=r"mine exists and is no model.*not be replaced"):
        dataset.save(Model(1))
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_remote_is_refused() -> None:
    with pytest.raises(DatasetError, match="saved to a local folder, and s3://x/y is on 's3'"):
        ModelDataset(filepath="s3://x/y")


def test_catalog_entry_and_pickle(tmp_path: Path) -> None:
    entry = {"type": "sparseshift.datasets.ModelDataset", "filepath": str(tmp_path / "model")}
    catalog = DataCatalog.from_config({"model": entry})
    catalog.save("model", Model(2))
    assert pickle.loads(pickle.dumps(catalog["model"])).load().files == 2
    assert str(tmp_path / "model") in repr(catalog["model"])
