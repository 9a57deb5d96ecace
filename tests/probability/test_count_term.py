import numpy as np
import pytest
import torch
from scipy import special

from sparseshift.probability.count_term import (
    LARGEST_IN_TABLE,
    CountPlan,
    count_sums,
    plan_counts,
    slope_by_gene,
)


def by_products(count: int, t: float) -> tuple[float, float]:
    """f and x + df / d log t as the sums of their definition."""
    k = np.arange(count)
    return float(np.log1p(k / t).sum()), float((t / (t + k)).sum())


def each(counts: torch.Tensor, t: torch.Tensor, plan: CountPlan) -> tuple[np.ndarray, np.ndarray]:
    """f and its slope of every count, (counts,), each in a cell of its own."""
    sums = count_sums(counts, t, plan)
    slopes = [
        slope_by_gene(one, sums.table, sums.series, plan).sum().item()
        for one in torch.eye(len(counts), dtype=counts.dtype)
    ]
    return sums.value.numpy(), np.array(slopes)


NONE = torch.empty(0, dtype=torch.int64)
SMALL, LARGE = CountPlan(None, NONE, LARGEST_IN_TABLE), CountPlan(NONE, None, 0)


@pytest.mark.parametrize("log_t", [-50.0, -8.0, -2.0, 0.0, 0.7, 3.0, 10.0, 25.0, 50.0])
@pytest.mark.parametrize(("plan", "largest"), [(SMALL, 31), (LARGE, 31), (LARGE, 3000)])
def test_table_and_series_are_the_sums_of_their_definition(
    plan: CountPlan, largest: int, log_t: float
) -> None:
    grid = np.unique(np.geomspace(1, largest, 25).astype(int))
    counts = np.concatenate([[0], grid])
    t = np.exp(log_t)
    expected = np.array([by_products(int(x), t) for x in counts]).T
    for dtype, digits in ((torch.float64, 1e-11), (torch.float32, 1e-6)):
        x = torch.from_numpy(counts).to(dtype).unsqueeze(1)
        value, slope = each(x, torch.tensor([t], dtype=dtype), plan)
        # f is a part of log p, whose other parts are of the size of x log x and x
        size = counts * np.log(counts + 2.0) + 1.0
        assert (np.abs(value - expected[0]) <= digits * (size + np.abs(expected[0]))).all()
        assert (np.abs(slope - expected[1]) <= digits * (counts + 1.0)).all()


def test_it_is_the_difference_of_log_gammas_where_that_has_digits() -> None:
    rng = np.random.default_rng(0)
    counts = rng.poisson(rng.gamma(0.5, 60.0, size=(40, 7))).astype(float)
    t = np.exp(rng.normal(size=7))
    by_hand = special.gammaln(counts + t) - special.gammaln(t) - counts * np.log(t)
    x = torch.from_numpy(counts)
    sums = count_sums(x, torch.from_numpy(t), plan_counts(x))
    np.testing.assert_allclose(sums.value, by_hand.sum(-1), rtol=1e-12)
    weight = rng.normal(size=40)
    slope = slope_by_gene(torch.from_numpy(weight), sums.table, sums.series, plan_counts(x))
    digammas = special.digamma(counts + t) - special.digamma(t)
    np.testing.assert_allclose(slope, weight @ (t * digammas), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1], [1, 2, 0]])
def test_plans_split_genes_and_put_them_back(order: list[int]) -> None:
    columns = np.array([[3.0, 500.0, 31.0], [0.0, 2.0, 1.0], [7.0, 32.0, 0.0]])[:, order]
    counts, t = torch.from_numpy(columns), torch.tensor([0.5, 2.0, 9.0], dtype=torch.float64)
    plan = plan_counts(counts)
    assert plan.large is not None
    assert plan.large.tolist() == [order.index(1)]
    assert plan.largest == 31
    weight = torch.tensor([1.0, -2.0, 0.3], dtype=torch.float64)
    mixed, whole = (count_sums(counts, t, p) for p in (plan, LARGE))
    torch.testing.assert_close(mixed.value, whole.value)
    torch.testing.assert_close(
        slope_by_gene(weight, mixed.table, mixed.series, plan),
        slope_by_gene(weight, whole.table, whole.series, LARGE),
    )


def test_plans_of_all_small_all_large_and_no_cells() -> None:
    few = plan_counts(torch.tensor([[0.0, 4.0], [2.0, 1.0]]))
    assert few.small is None
    assert few.largest == 4
    many = plan_counts(torch.tensor([[40.0, 4.0], [2.0, 99.0]]))
    assert many.large is None
    none = plan_counts(torch.empty(0, 3))
    assert none.small is None
    assert count_sums(torch.empty(0, 3), torch.ones(3), none).value.shape == (0,)
