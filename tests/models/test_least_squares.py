"""Additive effects from label means, and how many cells they are worth."""

import numpy as np
import pytest
import torch

from sparseshift.data.design import Design
from sparseshift.models.least_squares import additive_effects, effect_precision, label_means

DESIGN = torch.tensor([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0], [1, 0, 1]]).double()


def test_means_of_labels_with_and_without_cells() -> None:
    value = torch.arange(10.0).reshape(5, 2)
    mean, size = label_means(value, torch.tensor([2, 0, 2, 2, 0]), 4)
    assert torch.equal(size, torch.tensor([2.0, 0.0, 3.0, 0.0]))
    torch.testing.assert_close(mean[2], value[[0, 2, 3]].mean(0))
    assert not mean[[1, 3]].any()


def test_what_adds_up_is_found_exactly() -> None:
    effects = torch.tensor([[1.0, 0.0], [0.0, -2.0], [3.0, 0.5]]).double()
    size = torch.tensor([9.0, 4.0, 0.0, 7.0, 2.0]).double()
    torch.testing.assert_close(additive_effects(DESIGN @ effects, size, DESIGN), effects)


def test_no_other_effects_fit_better() -> None:
    generator = torch.Generator().manual_seed(0)
    shift = torch.randn(5, 2, generator=generator).double()
    size = torch.tensor([5.0, 50.0, 10.0, 20.0, 3.0]).double()
    best = additive_effects(shift, size, DESIGN).requires_grad_()
    misfit = (size.unsqueeze(1) * (shift - DESIGN @ best).square()).sum()
    (gradient,) = torch.autograd.grad(misfit, best)
    assert gradient.abs().max() < 1e-9


def test_precision_is_the_inverse_of_the_variance() -> None:
    size = torch.tensor([100.0, 5.0, 10.0, 20.0, 8.0]).double()
    noise = torch.randn(5, 20_000, generator=torch.Generator().manual_seed(0)).double()
    effects = additive_effects(noise / size.sqrt().unsqueeze(1), size, DESIGN)
    torch.testing.assert_close(
        effects.var(1), 1.0 / effect_precision(size, DESIGN), rtol=0.05, atol=0.0
    )


def test_precision_counts_the_cells_of_singles_and_none_of_the_unseen() -> None:
    size = torch.tensor([30.0, 0.0, 7.0]).double()
    expected = torch.tensor([30.0, 0.0, 7.0]).double()
    torch.testing.assert_close(effect_precision(size, torch.eye(3)), expected)
    assert effect_precision(torch.zeros(2), torch.zeros(2, 0)).shape == (0,)
    assert not effect_precision(torch.zeros(3), torch.eye(3)).any()


def test_of_two_seen_only_together_each_gets_half() -> None:
    together = torch.ones(1, 2)
    effects = additive_effects(torch.tensor([[4.0, -2.0]]), torch.tensor([5.0]), together)
    torch.testing.assert_close(effects, torch.tensor([[2.0, -1.0], [2.0, -1.0]]).double())
    # half of a mean of 5 cells: a quarter of its variance
    precision = effect_precision(torch.tensor([5.0]), together)
    assert precision.tolist() == pytest.approx([20.0, 20.0])


# of a screen of singles and doubles: BPGM, PTPN12 and SAMD1 are only seen in pairs
PAIRED = [
    "BPGM+SAMD1",
    "CBL+CNN1",
    "CEBPE+RUNX1T1",
    "CNN1+MAPK1",
    "FOXL2+HOXB9",
    "HK2",
    "IER5L",
    "KLF1",
    "KLF1+SET",
    "KLF1+TGFBR2",
    "KMT2A",
    "MAP2K3",
    "MAP2K3+MAP2K6",
    "MAP2K3+SLC38A2",
    "MAP2K6",
    "MAP3K21",
    "MAP4K3",
    "MAP4K5",
    "MAPK1+TGFBR2",
    "MIDN",
    "PLK4",
    "PTPN12+SAMD1",
    "SGK1",
    "SGK1+TBX3",
    "SLC38A2",
    "TMSB4X",
]


@pytest.mark.parametrize("seed", range(5))
def test_what_combinations_do_not_tell_apart_stays_small(seed: int) -> None:
    """Rounding must not pass for information: its inverse is 1e13."""
    rng = np.random.default_rng(seed)
    labels = [*PAIRED, "control"]
    design = Design.of_labels(labels, "control", additive=True).matrix(labels).astype(float)
    size = np.full(len(labels), 100.0)
    size[[4, 20]] = 80.0, 95.0
    shift = rng.normal(size=(len(labels), 4))
    shift[-1] = 0.0
    found = additive_effects(*map(torch.from_numpy, (shift, size, design))).numpy()
    weight = np.sqrt(size)[:, None]
    expected = np.linalg.pinv(weight * design, rcond=1e-9) @ (weight * shift)
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert np.abs(found).max() < 20.0
    precision = effect_precision(torch.from_numpy(size), torch.from_numpy(design)).numpy()
    information = design.T @ (size[:, None] * design)
    variance = np.diag(np.linalg.pinv(information, rcond=1e-9, hermitian=True))
    np.testing.assert_allclose(precision, 1.0 / variance, rtol=1e-6)
