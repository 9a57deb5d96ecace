from typing import Any

import numpy as np
import pytest
from scipy import sparse

import sparseshift as ss
from sparseshift.errors import OptionError
from sparseshift.screens import simulated

SIZES: dict[str, Any] = {
    "n_perturbations": 6,
    "n_cells_per_perturbation": 20,
    "n_control_cells": 30,
    "n_latents": 4,
    "n_genes": 12,
}


def test_fields() -> None:
    screen = ss.simulate("paper", seed=3, **SIZES)
    assert screen.shape == (150, 12)
    assert sparse.issparse(screen.X)
    assert screen.X.format == "csr"
    assert screen.X.dtype == np.float32
    labels = screen.obs["perturbation"].astype(str)
    assert labels.value_counts().to_dict() == {
        "control": 30,
        **{f"p{i:03d}": 20 for i in range(6)},
    }
    assert screen.obsm["z"].shape == (150, 4)
    assert screen.uns["shifts"].shape == (6, 4)
    assert list(screen.uns["perturbations"]) == [f"p{i:03d}" for i in range(6)]
    assert screen.obs_names.is_unique
    assert screen.var_names.is_unique
    for i, name in enumerate(screen.uns["perturbations"]):
        rest = screen.obsm["z"][labels == name] - screen.uns["shifts"][i]
        assert np.abs(rest.mean(0)).max() < 5.0 / np.sqrt(20)
    assert np.abs(screen.obsm["z"][labels == "control"].mean(0)).max() < 5.0 / np.sqrt(30)


def test_seeds_and_no_control() -> None:
    sizes = {**SIZES, "n_control_cells": 0}
    a, b, c = (ss.simulate(seed=seed, **sizes) for seed in (0, 0, 1))
    assert (a.X != b.X).nnz == 0
    assert (a.X != c.X).nnz > 0
    assert "control" not in set(a.obs["perturbation"])


def test_combinations_batches_and_guides_of_the_default_simulator() -> None:
    screen = ss.simulate(
        "default", seed=0, **SIZES, n_combinations=2, n_batches=3, guide_efficiency=0.5
    )
    labels = screen.obs["perturbation"].astype(str)
    doubles = sorted(set(labels[labels.str.contains(r"\+")]))
    assert len(doubles) == 2
    assert all(double.split("+") == sorted(double.split("+")) for double in doubles)
    assert set(screen.obs["batch"]) == {"b0", "b1", "b2"}
    assert not screen.obs["perturbed"][labels == "control"].any()
    shift = dict(zip(screen.uns["perturbations"], screen.uns["shifts"], strict=True))
    for label in set(labels) - {"control"}:
        own = (labels == label) & screen.obs["perturbed"]
        expected = sum(shift[part] for part in label.split("+"))
        rest = screen.obsm["z"][own] - expected
        assert np.abs(rest.mean(0)).max() < 5.0 / np.sqrt(own.sum())


def test_many_cells_in_parts_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ss.simulate(seed=0, **SIZES)
    monkeypatch.setattr(simulated, "_AT_ONCE", 7)
    assert (ss.simulate(seed=0, **SIZES).X != whole.X).nnz == 0


def test_the_screen_can_be_fitted() -> None:
    screen = ss.simulate(seed=0, **SIZES)
    options: dict[str, Any] = {"n_latents": 2, "steps": 5, "warm_start": None}
    model = ss.fit(screen, "svae_plus", perturbation="perturbation", control="control", **options)
    assert model.effects().index.tolist() == list(screen.uns["perturbations"])


@pytest.mark.parametrize(
    ("name", "sizes", "message"),
    [
        (
            "paper",
            {"n_cells": 3, "a": 1},
            "unknown a, n_cells. Known to 'paper': n_perturbations, n_cells_per",
        ),
        ("scale", {}, "There is no simulator 'scale'. The simulators are: paper, default"),
        ("paper", {"density": 0.5}, "unknown density. Known to 'paper': n_perturbations"),
        ("default", {"density": 3.0}, "density=3.0 must be above 0"),
        ("paper", {"n_genes": 0}, "n_genes=0 must be at least 1"),
        ("paper", {"n_control_cells": -1}, "n_control_cells=-1 must not be negative"),
    ],
)
def test_unknown_names_and_sizes_are_refused(
    name: Any, sizes: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        ss.simulate(name, **sizes)
