"""A model on disk is the model."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from anndata import AnnData
from safetensors.torch import load_file

import sparseshift as ss
from sparseshift.errors import OptionError
from sparseshift.fitted_model import FORMAT, FittedModel

Models = dict[str, FittedModel]
AssertSame = Callable[[FittedModel, FittedModel, AnnData], None]
every_model = pytest.mark.parametrize("name", ["vae", "ivae", "svae_plus", "batches"])


@every_model
@pytest.mark.parametrize("adapted", [False, True])
def test_loading_gives_the_model_back(
    name: str,
    adapted: bool,
    fitted: Models,
    small_screen: AnnData,
    tmp_path: Path,
    assert_same: AssertSame,
) -> None:
    model = fitted[name].adapt(small_screen) if adapted else fitted[name]
    known = small_screen if adapted else small_screen[:200]
    known = known[known.obs["gene"].isin(["ctrl", "A", "B", "B+A", *("C" * adapted)])]
    model.save(tmp_path / "deep" / "model")
    loaded = ss.load(tmp_path / "deep" / "model")
    assert_same(model, loaded, known)
    assert not loaded.module.training
    loaded.save(tmp_path / "again")
    for file in ("model.json", "weights.safetensors"):
        first = (tmp_path / "deep" / "model" / file).read_bytes()
        assert (tmp_path / "again" / file).read_bytes() == first


@every_model
def test_a_loaded_model_adapts_alike(
    name: str, fitted: Models, small_screen: AnnData, tmp_path: Path, assert_same: AssertSame
) -> None:
    fitted[name].save(tmp_path)
    loaded = ss.load(str(tmp_path)).adapt(small_screen)
    assert_same(fitted[name].adapt(small_screen), loaded, small_screen)


def test_a_folder_holds_two_files_without_pickles(
    fitted: Models, training_screen: AnnData, tmp_path: Path
) -> None:
    fitted["svae_plus"].save(tmp_path)
    fitted["svae_plus"].save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "model.json",
        "weights.safetensors",
    ]
    content = json.loads((tmp_path / "model.json").read_text())
    assert content["format"] == FORMAT
    assert content["specification"]["genes"] == list(training_screen.var_names)
    weights = load_file(tmp_path / "weights.safetensors")
    assert set(weights) == set(fitted["svae_plus"].module.state_dict())
    n_bytes = sum(value.numel() * value.element_size() for value in weights.values())
    assert (tmp_path / "weights.safetensors").stat().st_size < n_bytes + 10_000


def test_a_history_without_validation_is_valid_json(
    training_screen: AnnData, small: dict[str, Any], tmp_path: Path, assert_same: AssertSame
) -> None:
    model = ss.fit(training_screen, "vae", validation_fraction=0.0, **small)
    model.save(tmp_path)
    text = (tmp_path / "model.json").read_text()
    assert "NaN" not in text
    loaded = ss.load(tmp_path)
    assert_same(model, loaded, training_screen)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"holds no model: there is no model\.json in it"):
        ss.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="holds no model"):
        ss.load(tmp_path / "absent")


@pytest.mark.parametrize("number", [FORMAT - 1, FORMAT + 1, str(FORMAT), None])
def test_another_format_is_refused(number: object, fitted: Models, tmp_path: Path) -> None:
    fitted["vae"].save(tmp_path)
    content = json.loads((tmp_path / "model.json").read_text())
    content["format"] = number
    (tmp_path / "model.json").write_text(json.dumps(content))
    with pytest.raises(
        OptionError,
        match=rf"has model format {number!r}; this version reads {FORMAT}\. .* fit it again",
    ):
        ss.load(tmp_path)
