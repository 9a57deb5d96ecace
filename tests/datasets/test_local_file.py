from pathlib import Path

import pytest
from kedro.io import AbstractDataset, DatasetError

from sparseshift.datasets import LocalFileDataset


def test_it_gives_the_path_of_a_file_or_a_folder(tmp_path: Path) -> None:
    for name in ("screen.h5ad", "screen.zarr"):
        dataset = AbstractDataset.from_config(
            "mine.source",
            {"type": "sparseshift.datasets.LocalFileDataset", "filepath": str(tmp_path / name)},
        )
        assert not dataset.exists()
        with pytest.raises(DatasetError, match=r"There is no file .*Correct the filepath"):
            dataset.load()
        (tmp_path / name).mkdir()
        assert dataset.exists()
        assert dataset.load() == tmp_path / name


def test_it_is_read_only_and_local(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"A str cannot be saved to .* which is read only"):
        LocalFileDataset(filepath=tmp_path / "a").save("b")
    assert not (tmp_path / "a").exists()
    with pytest.raises(DatasetError, match="must be local"):
        LocalFileDataset(filepath="s3://bucket/a.h5ad")
    assert "a.h5ad" in str(LocalFileDataset(filepath="a.h5ad"))
