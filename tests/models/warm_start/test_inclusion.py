"""Closed-form inclusion against brute force."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from sparseshift.models.warm_start.inclusion import (
    bernoulli_inclusion,
    beta_inclusion,
    budget_inclusion,
)

EFFECTS = torch.tensor([0.0, 0.05, -0.3, 0.7, -1.5, 4.0]).double()
CELLS = torch.tensor([1.0, 10.0, 250.0]).double()
Q = torch.linspace(0.0, 1.0, 4001).double()


def beta_cost(q: Tensor, alpha: float) -> Tensor:
    return -torch.xlogy(torch.tensor(alpha - 1.0), 1.0 - q)


def bernoulli_cost(q: Tensor, p0: float) -> Tensor:
    return torch.xlogy(q, q / p0) + torch.xlogy(1.0 - q, (1.0 - q) / (1.0 - p0))


def objective(
    q: Tensor, e: Tensor, m: float, n: float, cost: Callable[[Tensor], Tensor]
) -> Tensor:
    """In nats, the mask by enumeration: on with probability q, off with 1 - q."""
    return 0.5 * n * (q * (m - e) ** 2 + (1.0 - q) * m**2) + cost(q)


CASES: dict[str, tuple[Callable[..., Tensor], Callable[[Tensor], Tensor]]] = {
    "beta 1.5": (partial(beta_inclusion, alpha=1.5), partial(beta_cost, alpha=1.5)),
    "beta 100": (partial(beta_inclusion, alpha=100.0), partial(beta_cost, alpha=100.0)),
    "bernoulli .1": (
        partial(bernoulli_inclusion, probability=0.1),
        partial(bernoulli_cost, p0=0.1),
    ),
    "bernoulli .6": (
        partial(bernoulli_inclusion, probability=0.6),
        partial(bernoulli_cost, p0=0.6),
    ),
    "budget 3": (partial(budget_inclusion, price=3.0), lambda q: 3.0 * q),
}


@pytest.mark.parametrize("case", list(CASES))
def test_nothing_on_a_grid_of_q_and_effect_is_better(case: str) -> None:
    closed_form, cost = CASES[case]
    found = closed_form(EFFECTS.expand(3, -1), CELLS)
    for row, n in enumerate(CELLS.tolist()):
        for column, m in enumerate(EFFECTS.tolist()):
            e = torch.cat([torch.linspace(-1.0, 2.0, 61).double() * m, EFFECTS]).unsqueeze(1)
            values = objective(Q, e, m, n, cost)
            lowest = values[values.isfinite()].min().item()
            q = found[row, column]
            at_found = objective(q, torch.tensor(m).double(), m, n, cost).item()
            assert at_found <= lowest + 1e-9
            # where the objective is flat (m = 0 and a free edge) any q is as good
            best_q = Q[values.nan_to_num(torch.inf).amin(0).argmin()]
            assert abs(q - best_q) < 5e-4 or at_found >= lowest - 1e-9


def test_where_an_edge_is_called() -> None:
    n, alpha = torch.tensor([250.0]).double(), 26.0
    called = (4 * (alpha - 1) / 250.0) ** 0.5
    just = torch.tensor([[0.999 * called, 1.001 * called]]).double()
    below, above = beta_inclusion(just, n, alpha)[0].tolist()
    assert below < 0.5 < above


def test_free_edges_and_unseen_perturbations() -> None:
    found = beta_inclusion(torch.tensor([[2.0, 0.0]]), torch.tensor([10.0]), 1.0)
    assert found.tolist() == [[1.0, 0.0]]
    unseen = torch.zeros(1)
    for closed_form, _ in (CASES["beta 100"], CASES["budget 3"]):
        assert not closed_form(torch.ones(1, 2), unseen).any()
    prior = bernoulli_inclusion(torch.ones(1, 2), unseen, 0.1)
    torch.testing.assert_close(prior, torch.full((1, 2), 0.1))
