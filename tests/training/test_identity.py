"""Under which name the state of a fit is kept."""

import subprocess
import sys

import torch

from sparseshift.training.identity import ABOVE, fit_identity

SETTINGS = {"seed": 0, "training": {"steps": 10, "rate": 0.1}, "names": ("a", "b")}
DATA = [torch.arange(6).reshape(2, 3), torch.ones(2)]


def test_the_same_fit_has_the_same_name() -> None:
    turned = dict(reversed(SETTINGS.items()))
    assert fit_identity(SETTINGS, DATA) == fit_identity(
        turned, [tensor.clone() for tensor in DATA]
    )


def test_whatever_changes_the_numbers_changes_the_name() -> None:
    names = [
        fit_identity(SETTINGS, DATA),
        fit_identity({**SETTINGS, "seed": 1}, DATA),
        fit_identity({**SETTINGS, "training": {"steps": 10, "rate": 0.1 + 1e-16 * 100}}, DATA),
        fit_identity({**SETTINGS, "names": ("b", "a")}, DATA),
        fit_identity(SETTINGS, DATA[:1]),
        fit_identity(SETTINGS, DATA[::-1]),
        fit_identity(SETTINGS, [DATA[0].reshape(3, 2), DATA[1]]),
        fit_identity(SETTINGS, [DATA[0].float(), DATA[1]]),
        fit_identity(SETTINGS, [DATA[0].index_fill(0, torch.tensor([1]), 9), DATA[1]]),
    ]
    assert len(set(names)) == len(names)
    assert all(len(name) == 32 for name in names)


def test_code_that_is_left_out_has_no_part_in_a_fit() -> None:
    code = (
        "import sys, sparseshift.api;"
        f"left_out = [m for m in sys.modules if m.split('.')[:1] == ['sparseshift'] and m.split('.')[1:2] and m.split('.')[1] in {ABOVE!r}];"
        "assert not left_out, left_out"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
