"""The strength of the sparsity, from the effects a rotation shows."""

import pytest
import torch

from sparseshift.models.warm_start.inclusion import beta_inclusion
from sparseshift.models.warm_start.strength import alpha_by_perturbation

each_size = pytest.mark.parametrize("n_cells", [25.0, 250.0, 5000.0])


@each_size
def test_an_edge_needs_a_third_of_the_largest_effect_however_many_cells(n_cells: float) -> None:
    effects = torch.tensor([[6.0, 2.02, -2.02, 1.98, -1.98, 0.0]])
    cells = torch.tensor([n_cells])
    found = beta_inclusion(effects, cells, alpha_by_perturbation(effects, cells)) > 0.5
    assert found.tolist() == [[True, True, True, False, False, False]]


@each_size
def test_and_five_standard_errors(n_cells: float) -> None:
    error = n_cells**-0.5
    effects = error * torch.tensor([[5.1, 5.1, -5.1, 4.9, -4.9], [4.9, 1.0, 0.0, -1.0, -3.0]])
    cells = torch.full((2,), n_cells)
    found = beta_inclusion(effects, cells, alpha_by_perturbation(effects, cells)) > 0.5
    assert found.tolist() == [[True, True, True, False, False], [False] * 5]


def test_each_perturbation_has_its_own() -> None:
    effects, cells = torch.randn(7, 4), torch.linspace(1.0, 2000.0, 7)
    together = alpha_by_perturbation(effects, cells)
    assert together.shape == (7, 1)
    assert (together >= 7.25).all()
    for p in range(7):
        alone = alpha_by_perturbation(effects[p : p + 1], cells[p : p + 1])
        torch.testing.assert_close(together[p : p + 1], alone)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(alpha_by_perturbation(-effects[:, order], cells), together)


def test_noise_alone_makes_no_edges() -> None:
    generator = torch.Generator().manual_seed(0)
    cells = torch.full((2000,), 100.0)
    effects = torch.randn(2000, 15, generator=generator) / 10.0
    found = beta_inclusion(effects, cells, alpha_by_perturbation(effects, cells)) > 0.5
    assert found.sum() <= 1  # 30,000 entries; .02 expected beyond five standard errors
