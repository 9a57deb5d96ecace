"""The name under which the state of a fit is kept."""

from typing import Any

import pytest
import torch

from sparseshift.training import identity
from sparseshift.training.identity import fit_identity

SETTINGS: dict[str, Any] = {"steps": 30, "preset": "svae", "options": {"alpha": None}}
DATA = (torch.arange(6.0).reshape(2, 3), torch.tensor([1, 0]))


def test_the_same_fit_has_the_same_name() -> None:
    name = fit_identity(SETTINGS, DATA)
    assert len(name) == 32
    assert set(name) <= set("0123456789abcdef")
    turned = dict(reversed(SETTINGS.items()))
    assert fit_identity(turned, iter(DATA)) == name
    assert fit_identity(SETTINGS, (DATA[0].T.contiguous().T, DATA[1])) == name


@pytest.mark.parametrize(
    "changes", [{"steps": 31}, {"options": {"alpha": 1.0}}, {"seed": 0}, {"preset": "svae_plus"}]
)
def test_another_setting_has_another_name(changes: dict[str, Any]) -> None:
    assert fit_identity({**SETTINGS, **changes}, DATA) != fit_identity(SETTINGS, DATA)


def test_other_data_have_another_name() -> None:
    counts, labels = DATA
    other = counts.clone()
    other[1, 2] += 1
    names = {
        fit_identity(SETTINGS, data)
        for data in (
            DATA,
            (other, labels),
            (counts.reshape(3, 2), labels),
            (counts.double(), labels),
            (labels, counts),
            (counts,),
        )
    }
    assert len(names) == 6


def test_other_code_has_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    before = fit_identity(SETTINGS, DATA)
    monkeypatch.setattr(identity, "_code_digest", lambda: "another")
    assert fit_identity(SETTINGS, DATA) != before
