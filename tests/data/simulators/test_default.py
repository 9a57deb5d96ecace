"""The default simulator: its laws."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from sparseshift.data.simulators.default import default
from sparseshift.data.simulators.graphs import identifiable_latents
from sparseshift.errors import OptionError

SMALL: dict[str, Any] = {
    "n_perturbations": 10,
    "n_cells_per_perturbation": 300,
    "n_control_cells": 500,
    "n_latents": 4,
    "n_genes": 60,
}


def draw(seed: int = 0, **changes: Any) -> Any:
    """A small screen."""
    return default(np.random.default_rng(seed), **{**SMALL, **changes})


def test_shapes() -> None:
    screen = draw(n_combinations=3, n_batches=2)
    n = 500 + 13 * 300
    assert screen.counts.shape == (n, 60)
    assert screen.counts.dtype == np.int32
    assert screen.latents.shape == (n, 4)
    assert screen.shifts.shape == (10, 4)
    for codes in (screen.perturbation, screen.partner, screen.batch, screen.perturbed):
        assert codes.shape == (n,)
    assert set(np.unique(screen.batch)) == {0, 1}
    assert (screen.perturbation[:500] == -1).all()
    assert not screen.perturbed[:500].any()
    double = screen.partner >= 0
    assert double.sum() == 900
    pairs = np.unique(
        np.stack([screen.perturbation[double], screen.partner[double]], axis=1), axis=0
    )
    assert len(pairs) == 3
    assert (pairs[:, 0] < pairs[:, 1]).all()


def test_libraries_are_lognormal_and_do_not_depend_on_other_cells() -> None:
    screen = draw(depth=20_000.0, depth_spread=0.5)
    log_total = np.log(screen.counts.sum(1))
    assert stats.kstest((log_total - np.log(20_000.0)) / 0.5, "norm").pvalue > 1e-3
    # a proportion sums to one over genes: no gene has the same total as another, and cells with the
    # same library have the same depth whatever their perturbation
    equal = draw(depth_spread=0.0).counts.sum(1)
    assert stats.kstest((equal - 5000.0) / np.sqrt(5000.0), "norm").pvalue > 1e-3


def test_latents_are_standard_normal_around_the_sum_of_their_shifts() -> None:
    screen = draw(n_combinations=4)
    of_row = np.concatenate([screen.shifts, np.zeros((1, 4))])
    rest = screen.latents - of_row[screen.perturbation] - of_row[screen.partner]
    assert stats.kstest(rest.ravel(), "norm").pvalue > 1e-3
    assert np.abs(np.corrcoef(rest.T) - np.eye(4)).max() < 5.0 / np.sqrt(len(rest))


@pytest.mark.parametrize("size", [1.0, 5.0])
def test_effect_sizes(size: float) -> None:
    shifts = draw(n_perturbations=2000, n_cells_per_perturbation=1, effect_size=size).shifts
    found = shifts[shifts != 0]
    assert np.abs(found).mean() == pytest.approx(size, rel=0.01)
    assert np.abs(found).std() == pytest.approx(0.1 * size, rel=0.1)
    assert abs(np.sign(found).mean()) < 5.0 / np.sqrt(len(found))


def test_only_some_latents_are_targeted() -> None:
    screen = draw(n_targeted_latents=2, n_perturbations=50, n_cells_per_perturbation=2)
    assert (screen.shifts[:, 2:] == 0).all()
    assert (screen.shifts[:, :2] != 0).any(axis=0).all()


@pytest.mark.parametrize(("graph", "holds"), [("identifiable", True), ("confounded", False)])
def test_kinds_of_graph(graph: str, holds: bool) -> None:
    shifts = draw(graph=graph, n_perturbations=30, n_cells_per_perturbation=2).shifts
    assert identifiable_latents(shifts != 0).all() == holds


def test_weak_guides_leave_cells_as_they_were() -> None:
    screen = draw(guide_efficiency=0.6)
    aimed = screen.perturbation >= 0
    assert abs(screen.perturbed[aimed].mean() - 0.6) < 5.0 * np.sqrt(0.24 / aimed.sum())
    idle = aimed & ~screen.perturbed
    assert np.abs(screen.latents[idle].mean(0)).max() < 5.0 / np.sqrt(idle.sum())
    assert stats.kstest(screen.latents[idle].ravel(), "norm").pvalue > 1e-3


def test_batches_differ_by_their_effect_and_not_without_one() -> None:
    def spread(effect: float) -> float:
        screen = draw(n_batches=2, batch_effect=effect, depth=200_000.0, depth_spread=0.0)
        means = [np.log(screen.counts[screen.batch == b].mean(0) + 1.0) for b in range(2)]
        return float(np.std(means[0] - means[1]))

    assert spread(0.0) < 0.1
    # of the difference of two normals, as far as 60 genes tell; the softmax takes out the mean alone
    assert spread(0.5) == pytest.approx(0.5 * np.sqrt(2.0), rel=0.35)


def test_seeds() -> None:
    a, b, c = draw(0), draw(0), draw(1)
    for field in ("counts", "latents", "perturbation", "shifts", "batch", "perturbed"):
        np.testing.assert_array_equal(getattr(a, field), getattr(b, field))
    assert not np.array_equal(a.counts, c.counts)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"n_latents": 0}, "n_latents=0 must be at least 1"),
        ({"n_batches": 0}, "n_batches=0 must be at least 1"),
        ({"n_combinations": -1}, "n_combinations=-1 must not be negative"),
        ({"n_combinations": 46}, "n_combinations=46 must be from 0 to 45"),
        ({"n_targeted_latents": 5}, "n_targeted_latents=5 must be from 1 to 4"),
        ({"guide_efficiency": 1.2}, "guide_efficiency=1.2 must be from 0.0 to 1.0"),
        ({"effect_size": -1.0}, "effect_size=-1.0 must be from 0.0"),
        ({"depth": 0.0}, "depth=0.0 must be from 1.0"),
        ({"density": 2.0}, "density=2.0 must be above 0"),
    ],
)
def test_the_impossible_is_refused(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        draw(**setting)
