"""Settings of speed leave the numbers alone, or are refused in words."""

import shutil
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from sparseshift import compiled
from sparseshift.data.cells import Cells
from sparseshift.data.design import Design
from sparseshift.errors import OptionError
from sparseshift.models.vae import PerturbationVAE
from sparseshift.training.config import TrainingConfig
from sparseshift.training.loop import fit
from sparseshift.training.precision import products

LABELS = ("control", "A", "B", "A+B")
CONFIG = TrainingConfig(max_epochs=3, batch_size=24, n_evaluations=3)
Fitted = Callable[..., dict[str, torch.Tensor]]


@pytest.fixture(name="fitted")
def make_fitted(
    make_cells: Callable[..., Cells],
    make_design: Callable[..., Design],
    make_model: Callable[..., PerturbationVAE],
) -> Fitted:
    """Weights of a model in float32 after a few steps."""

    def make(config: TrainingConfig, normalisation: str = "none") -> dict[str, torch.Tensor]:
        model = make_model("svae_plus", LABELS, normalisation=normalisation).float()
        cells = make_cells(make_design("svae_plus", LABELS), LABELS, n_cells=48)
        single = Cells(cells.counts.float(), cells.label, cells.batch, cells.design.float())
        fit(model, single, single, config, seed=0)
        return model.state_dict()

    return make


@pytest.mark.parametrize("normalisation", ["none", "batch"])
def test_compiled_loops_train_the_same_model(fitted: Fitted, normalisation: str) -> None:
    with compiled.switched_off():
        plain = fitted(CONFIG, normalisation)
    for name, value in fitted(CONFIG, normalisation).items():
        torch.testing.assert_close(value, plain[name], rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.slow
@pytest.mark.skipif(
    not any(map(shutil.which, ("g++", "clang++"))), reason="there is no C++ compiler"
)
def test_a_compiled_step_trains_the_same_model(fitted: Fitted) -> None:
    plain = fitted(CONFIG)
    for name, value in fitted(replace(CONFIG, compile=True)).items():
        torch.testing.assert_close(value, plain[name], rtol=1e-3, atol=1e-4, msg=name)


def test_compiling_without_a_compiler_is_refused(
    fitted: Fitted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(OptionError, match=r"compile=True needs a C\+\+ compiler .* compile=False"):
        fitted(replace(CONFIG, compile=True))


@pytest.mark.parametrize(("precision", "inside"), [("float32", "highest"), ("tf32", "high")])
def test_precision_holds_inside_alone(precision: str, inside: str) -> None:
    before = torch.get_float32_matmul_precision()
    with products(precision):
        assert torch.get_float32_matmul_precision() == inside
    assert torch.get_float32_matmul_precision() == before


def test_precision_is_that_of_the_fit(fitted: Fitted, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = set()
    forward = PerturbationVAE.elbo_terms

    def watched(model: PerturbationVAE, *args: object) -> object:
        seen.add(torch.get_float32_matmul_precision())
        return forward(model, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(PerturbationVAE, "elbo_terms", watched)
    fitted(replace(CONFIG, precision="tf32"))
    assert seen == {"high"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"precision": "bfloat16"}, "precision='bfloat16' is not one of float32, tf32"),
        ({"compile": "yes"}, "compile='yes' must be true or false"),
    ],
)
def test_unknown_arithmetic_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        replace(CONFIG, **changes)  # type: ignore[arg-type]
