"""The first layer of an encoder: sums over counts that are not zero are the dense products."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sparseshift import compiled
from sparseshift.models import log_count_product as module
from sparseshift.models.log_count_product import SHARE, WIDE, log_count_product

needs_numba = pytest.mark.skipif(not compiled.available(), reason="numba is not installed")


def screen(share: float, n_genes: int = WIDE + 13, n_cells: int = 11) -> Tensor:
    """Counts of which `share` are not zero; a cell without any, a gene without any."""
    generator = torch.Generator().manual_seed(0)
    counts = torch.randint(1, 3000, (n_cells, n_genes), generator=generator).float()
    counts[torch.rand(n_cells, n_genes, generator=generator) >= share] = 0.0
    counts[3], counts[:, 5] = 0.0, 0.0
    return counts


@pytest.fixture(name="sparse_calls")
def count_sparse_calls(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each call found few enough counts."""
    found: list[bool] = []
    rows = module._rows

    def watched(counts: Tensor) -> tuple[Tensor, Tensor, Tensor] | None:
        result = rows(counts)
        found.append(result is not None)
        return result

    monkeypatch.setattr(module, "_rows", watched)
    return found


def value_and_slope(counts: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """The product, and the slope of a weighted sum of it."""
    weight = weight.clone().requires_grad_()
    value = log_count_product(counts, weight)
    outer = torch.linspace(-1.0, 2.0, value.numel(), dtype=value.dtype).view_as(value)
    (slope,) = torch.autograd.grad((value * outer).sum(), weight)
    return value.detach(), slope


@needs_numba
@pytest.mark.parametrize("n_units", [1, 30, 128])
@pytest.mark.parametrize("share", [0.0, 0.003, 0.2])
def test_sums_are_the_products_of_float64(
    share: float, n_units: int, sparse_calls: list[bool]
) -> None:
    counts = screen(share)
    weight = torch.randn(counts.shape[1], n_units, generator=torch.Generator().manual_seed(1))
    found = value_and_slope(counts, weight)
    assert sparse_calls == [True]
    exact = counts.double().log1p() @ weight.double()
    torch.testing.assert_close(found[0].double(), exact, rtol=1e-5, atol=1e-4)
    with compiled.switched_off():
        expected = value_and_slope(counts.double(), weight.double())
    torch.testing.assert_close(found[1].double(), expected[1], rtol=1e-5, atol=1e-4)
    with torch.no_grad():
        assert torch.equal(log_count_product(counts, weight), found[0])


@needs_numba
@pytest.mark.parametrize(("share", "sparse"), [(SHARE - 0.1, True), (SHARE + 0.2, False)])
def test_dense_counts_are_multiplied_densely(
    share: float, sparse: bool, sparse_calls: list[bool]
) -> None:
    counts = screen(share, n_cells=64)
    weight = torch.randn(counts.shape[1], 7)
    product = log_count_product(counts, weight)
    assert sparse_calls == [sparse]
    torch.testing.assert_close(product, counts.log1p() @ weight, rtol=1e-5, atol=1e-4)


@needs_numba
@pytest.mark.parametrize("change", [Tensor.double, lambda t: t[:, :10].contiguous(), Tensor.t])
def test_what_is_not_for_the_loops_is_multiplied_by_torch(
    change: Callable[[Tensor], Tensor], sparse_calls: list[bool]
) -> None:
    counts = change(screen(0.1))
    weight = torch.ones(counts.shape[1], 3, dtype=counts.dtype)
    torch.testing.assert_close(log_count_product(counts, weight), counts.log1p() @ weight)
    assert not sparse_calls
