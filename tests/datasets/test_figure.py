"""Laws of FigureDataset: PNG in, the same bytes out, and other people's figures stay open."""

import base64
import inspect
import pickle
from collections.abc import Iterator
from pathlib import Path

import fsspec
import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
from kedro.io import DataCatalog, DatasetError
from kedro.io.core import Version
from matplotlib.figure import Figure

from sparseshift.datasets import FigureDataset

SIGNATURE = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(autouse=True)
def _without_display() -> Iterator[None]:
    with mpl.rc_context({"backend": "agg"}):
        yield
        plt.close("all")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def figure() -> Figure:
    made, axes = plt.subplots(figsize=(1, 1))
    axes.plot([0, 1])
    return made


def test_loads_the_bytes_of_the_file(tmp_path: Path) -> None:
    dataset = FigureDataset(filepath=tmp_path / "new" / "x.png")
    assert not dataset.exists()
    dataset.save(figure())
    content = dataset.load()
    assert content.startswith(SIGNATURE)
    assert content == (tmp_path / "new" / "x.png").read_bytes()
    assert base64.b64decode(dataset.preview()) == content
    assert names(tmp_path / "new") == ["x.png"]


def test_resolution(tmp_path: Path) -> None:
    for save_args, width in [({}, 144), ({"dpi": 72}, 72)]:
        dataset = FigureDataset(
            filepath=tmp_path / "x.png", save_args={"bbox_inches": None, **save_args}
        )
        dataset.save(figure())
        assert int.from_bytes(dataset.load()[16:20], "big") == width  # IHDR


def test_closes_the_saved_figure_alone(tmp_path: Path) -> None:
    mine, other = figure(), figure()
    FigureDataset(filepath=tmp_path / "x.png").save(mine)
    assert plt.get_fignums() == [other.number]


def test_failed_save_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = FigureDataset(filepath=tmp_path / "x.png")
    dataset.save(figure())
    before = dataset.load()

    def fail(_: Figure, path: Path, **__: object) -> None:
        path.write_bytes(SIGNATURE)
        raise ValueError("out of ink")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(DatasetError, match="out of ink"):
        dataset.save(figure())
    assert dataset.load() == before
    assert names(tmp_path) == ["x.png"]


def test_versions(tmp_path: Path) -> None:
    FigureDataset(filepath=tmp_path / "x.png", version=Version(None, "v1")).save(figure())
    assert (tmp_path / "x.png" / "v1" / "x.png").is_file()
    latest = FigureDataset(filepath=tmp_path / "x.png", version=Version(None, None))
    assert latest.load().startswith(SIGNATURE)


def test_remote() -> None:
    dataset = FigureDataset(filepath="memory:///figures/x.png")
    try:
        dataset.save(figure())
        assert dataset.load().startswith(SIGNATURE)
    finally:
        fsspec.filesystem("memory").rm("/figures", recursive=True)


def test_messages(tmp_path: Path) -> None:
    dataset = FigureDataset(filepath=tmp_path / "x.png")
    with pytest.raises(DatasetError, match=r"There is no figure at .*x\.png"):
        dataset.load()
    with pytest.raises(DatasetError, match="saves one figure, not a list"):
        dataset.save([figure()])
    with pytest.raises(DatasetError, match="saves png, not 'pdf'"):
        FigureDataset(filepath=tmp_path / "x.pdf", save_args={"format": "pdf"}).save(figure())


def test_catalog_entry_and_pickle(tmp_path: Path) -> None:
    entry = {"type": "sparseshift.datasets.FigureDataset", "filepath": str(tmp_path / "x.png")}
    catalog = DataCatalog.from_config({"curve": entry})
    catalog.save("curve", figure())
    assert pickle.loads(pickle.dumps(catalog["curve"])).load() == catalog.load("curve")


def test_viz_recognises_the_preview() -> None:
    annotation = inspect.signature(FigureDataset.preview).return_annotation
    assert getattr(annotation, "__name__", str(annotation)) == "ImagePreview"
