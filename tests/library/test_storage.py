"""Where the counts are kept changes no number."""

import tempfile
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
import torch
from anndata import AnnData
from scipy import sparse

import sparseshift as ss
from sparseshift.data import compact as compact_module
from sparseshift.data import memory_map
from sparseshift.errors import OptionError, TrainingError
from sparseshift.fitted_model import FittedModel

QUICK = {"steps": 12, "validation_fraction": 0.2}


def same_bits(a: FittedModel, b: FittedModel) -> bool:
    ours, theirs = a.module.state_dict(), b.module.state_dict()
    return a.records.records == b.records.records and all(
        torch.equal(ours[k], theirs[k]) for k in theirs
    )


@pytest.mark.parametrize("share", [0.0, 1e9], ids=["sparse", "dense"])
@pytest.mark.parametrize("storage", ["memory", "disk"])
def test_weights_do_not_depend_on_the_storage(
    storage: str,
    share: float,
    training_screen: AnnData,
    small: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = training_screen.copy()
    thin = np.random.default_rng(0).random(screen.shape) < 0.3
    thin[:, 0] = True
    screen.X = screen.X.multiply(thin).tocsr()
    screen = screen[screen.X.sum(1).A1 > 0].copy()
    options = {**small, **QUICK}
    expected = ss.fit(screen, "svae_plus", **options)
    monkeypatch.setattr(compact_module, "DENSE_SHARE", share)
    again = ss.fit(screen, "svae_plus", storage=storage, **options)
    assert same_bits(again, expected)


@pytest.mark.parametrize("form", ["dense", "csr", "csc"])
@pytest.mark.parametrize(
    "kept", ["memory", "file", "view of file", "view", "shuffled view of file"]
)
def test_weights_do_not_depend_on_the_form_of_the_screen(
    kept: str, form: str, small_screen: AnnData, small: dict[str, Any], tmp_path: Path
) -> None:
    options = {**small, **QUICK}
    cells = np.flatnonzero(small_screen.obs["gene"].isin(["ctrl", "A", "B"]))
    genes = np.random.default_rng(0).permutation(20)
    if "shuffled" in kept:
        cells = np.random.default_rng(0).permutation(cells)
    chosen = small_screen[cells, genes].copy()
    expected = ss.fit(chosen, "ivae", **options)
    forms = {"dense": lambda x: x.toarray(), "csr": sparse.csr_matrix, "csc": sparse.csc_matrix}
    screen = small_screen.copy() if "view" in kept else chosen.copy()
    screen.X = forms[form](screen.X)
    if "file" in kept:
        screen.write_h5ad(tmp_path / "screen.h5ad")
        screen = ad.read_h5ad(tmp_path / "screen.h5ad", backed="r")
    screen = screen[cells, genes] if "view" in kept else screen
    model = ss.fit(screen, "ivae", **options)
    assert same_bits(model, expected)
    np.testing.assert_array_equal(model.latents(screen), expected.latents(chosen))


def test_a_file_is_never_read_whole(
    training_screen: AnnData,
    small: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    training_screen.write_h5ad(tmp_path / "screen.h5ad")
    screen = ad.read_h5ad(tmp_path / "screen.h5ad", backed="r")
    monkeypatch.setattr("sparseshift.data.parts.ELEMENTS", 20 * 20)
    monkeypatch.setattr("sparseshift.screens.counts.MAX_ELEMENTS", 20 * 20)
    read, sizes = type(screen.X).__getitem__, []

    def watched(self: Any, index: Any) -> Any:
        part = read(self, index)
        sizes.append(part.shape[0])
        return part

    monkeypatch.setattr(type(screen.X), "__getitem__", watched)
    ss.fit(screen, "vae", **{**small, **QUICK})
    assert max(sizes) == 20


def test_temporary_files_are_gone_whatever_happens(
    training_screen: AnnData,
    small: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made, zeros_on_disk = [], memory_map.zeros_on_disk

    def watched(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        made.append(shape)
        return zeros_on_disk(shape, dtype)

    monkeypatch.setattr("sparseshift.data.placement.zeros_on_disk", watched)
    monkeypatch.setattr("sparseshift.fitting.follow", _broken)
    with pytest.raises(TrainingError):
        ss.fit(training_screen, "vae", storage="disk", **small)
    assert made
    assert list(tmp_path.iterdir()) == []


def _broken(*_: Any) -> None:
    raise TrainingError("broken")


def test_an_unknown_storage_is_refused_before_any_work(
    training_screen: AnnData, small: dict[str, Any]
) -> None:
    with pytest.raises(OptionError, match="storage='tape'"):
        ss.fit(training_screen, "vae", storage="tape", **small)
