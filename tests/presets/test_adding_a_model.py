"""docs/adding_a_model.md: its code is run, and gives models that keep the laws."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from anndata import AnnData

import sparseshift as ss
from sparseshift import presets
from sparseshift.models import mask_priors, options
from sparseshift.presets import PRESETS
from sparseshift.presets.preset import Preset

DOCUMENT = Path(__file__).parents[2] / "docs" / "adding_a_model.md"


def blocks() -> list[str]:
    """The Python code of the document, in order."""
    return re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)


def run(code: str) -> dict[str, Any]:
    """What a block defines."""
    found: dict[str, Any] = {"__name__": "written_in_the_document"}
    exec(compile(code, str(DOCUMENT), "exec"), found)
    return found


@pytest.fixture(name="added")
def add_as_the_document_says(monkeypatch: pytest.MonkeyPatch) -> dict[str, Preset]:
    """Its two presets, in the tables."""
    from_parts, part, from_new_part = blocks()
    first: Preset = run(from_parts)["PRESET"]
    log_rows: Callable[[float], mask_priors.MaskPrior] = run(part)["LogRows"]
    monkeypatch.setitem(mask_priors._MAKERS, "log_rows", lambda s: log_rows(s.alpha))
    names = tuple(mask_priors._MAKERS)
    monkeypatch.setitem(options._CHOICES, "mask_prior", names)
    second: Preset = run(from_new_part)["PRESET"]
    made = {"svae_posterior": first, "svae_rows": second}
    for name, preset in made.items():
        monkeypatch.setitem(presets.PRESETS, name, preset)
    return made


def test_the_presets_are_new(added: dict[str, Preset]) -> None:
    for name, preset in added.items():
        assert [other for other, made in PRESETS.items() if made == preset] == [name]


@pytest.mark.parametrize("name", ["svae_posterior", "svae_rows"])
def test_they_can_be_fitted_saved_and_adapted(
    name: str,
    added: dict[str, Preset],
    small_screen: AnnData,
    training_screen: AnnData,
    small: dict[str, Any],
    tmp_path: Path,
) -> None:
    assert name in added
    model = ss.fit(training_screen, name, **small)
    assert (model.history["penalty"] > 0).all()
    model.save(tmp_path)
    loaded = ss.load(tmp_path)
    np.testing.assert_array_equal(
        loaded.cell_iwelbo(training_screen, 3), model.cell_iwelbo(training_screen, 3)
    )
    assert np.isfinite(loaded.adapt(small_screen).iwelbo(small_screen, 3)).all()


def test_the_new_part_is_what_its_formula_says(added: dict[str, Preset]) -> None:
    assert "svae_rows" in added
    prior = mask_priors.mask_prior("log_rows", mask_priors.Strengths(3.0, 0.1, 1.0, 4))
    logit = torch.tensor([[-50.0, 50.0, 0.0], [-1.0, 2.0, 17.5]], requires_grad=True)
    cost = prior.cost(logit, 100)
    cost.backward()
    q = 1.0 / (1.0 + np.exp(-logit.detach().double().numpy()))
    assert cost.item() == pytest.approx(3.0 * np.log1p(q.sum(1)).sum(), rel=1e-6)
    assert logit.grad is not None
    assert torch.isfinite(logit.grad).all()


def test_every_file_and_name_in_the_document_exists() -> None:
    text, root = DOCUMENT.read_text(encoding="utf-8"), DOCUMENT.parents[1]
    for path in re.findall(r"`((?:models|training|presets)/\w+\.py)`", text):
        assert (root / "src" / "sparseshift" / path).is_file(), path
    for path in re.findall(r"`((?:tests|conf)/[\w/]+(?:\.\w+)?)`", text):
        assert (root / path).exists(), path
    assert set(re.findall(r"src/sparseshift/presets/(\w+)\.py", text)) == {
        "svae_posterior", "svae_rows", "__init__",
    }  # fmt: skip
