"""The sparsest rotation: on exact shifts the truth, from every start."""

import numpy as np
import pytest
import torch
from torch import Tensor

from sparseshift.models.warm_start.plane import log_sparsity
from sparseshift.models.warm_start.rotation import sparsest_rotation


def sparse_shifts(
    seed: int, n_rows: int = 80, n_latents: int = 15, positive: float = 0.5
) -> Tensor:
    """1 to 3 targets a row, drawn with replacement, shifts of +-Normal(5, .5)."""
    rng = np.random.default_rng(seed)
    shifts = np.zeros((n_rows, n_latents))
    for row in shifts:
        targets = np.unique(rng.integers(n_latents, size=rng.integers(1, 4)))
        sign = np.where(rng.random(len(targets)) < positive, 1.0, -1.0)
        row[targets] = sign * rng.normal(5.0, 0.5, size=len(targets))
    return torch.from_numpy(shifts)


def orthogonal(n: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(1000 + seed)
    return torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64))[0]


def worst_cosine(matrix: Tensor, mixing: Tensor) -> float:
    """Of true axis and nearest found axis, the least |cos|; each found axis is used once."""
    cosines = (matrix @ mixing).abs()
    best = cosines.max(0)
    assert len(set(best.indices.tolist())) == cosines.shape[1]
    return best.values.min().item()


def assert_orthogonal(matrix: Tensor) -> None:
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(len(matrix)).double())


@pytest.mark.parametrize("data_seed", range(4))
def test_every_start_finds_the_truth(data_seed: int) -> None:
    q = orthogonal(15, data_seed)
    mixed = sparse_shifts(data_seed, 80 + 20 * (data_seed % 2)) @ q.T
    for seed in range(3):
        found = sparsest_rotation(mixed, n_starts=1, seed=seed)
        assert worst_cosine(found.matrix, q) > 0.999
    # two latents mixed cost 7 % more than the truth, starts that agree are within .01 %
    assert sparsest_rotation(mixed, n_starts=16).agreement == 1.0


@pytest.mark.parametrize("data_seed", range(3))
def test_without_control_the_origin_is_found_although_effects_are_one_sided(
    data_seed: int,
) -> None:
    q, origin = orthogonal(15), 3.0 * orthogonal(15, 1)[0]
    shifts = sparse_shifts(data_seed, positive=1.0)
    mixed = shifts @ q.T + origin
    found = sparsest_rotation(mixed, None, torch.ones(80))
    assert found.agreement == 1.0
    assert worst_cosine(found.matrix, q) > 0.999
    assert (found.origin - origin).norm() < 0.25
    # the mean of all, which is where a VAE centres its cells, is far from it
    assert (mixed.mean(0) - origin).norm() > 2.0


def test_noise_and_imperfect_whitening() -> None:
    generator = torch.Generator().manual_seed(0)
    for size in (0.5, 5.0):
        mixing = orthogonal(15) + 0.1 * torch.randn(15, 15, generator=generator).double() / 15**0.5
        noise = 0.06 * size * torch.randn(80, 15, generator=generator).double()
        mixed = 0.2 * size * sparse_shifts(0) @ mixing.T + noise
        found = sparsest_rotation(mixed)
        assert found.agreement == 1.0
        unmixed = found.matrix @ mixing
        assert worst_cosine(unmixed / unmixed.norm(dim=0), torch.eye(15).double()) > 0.97


def test_no_turn_of_two_latents_is_sparser() -> None:
    mixed = torch.randn(30, 5, generator=torch.Generator().manual_seed(0)).double()
    found = sparsest_rotation(mixed, n_starts=4, scale=0.7)
    y = (mixed @ found.matrix.T / 0.7).T
    weight = torch.ones(30).double() / 30
    best = log_sparsity(y, weight).item()
    assert best == pytest.approx(found.criteria.min().item(), abs=1e-9)
    for i in range(5):
        for j in range(i):
            for t in np.linspace(0.0, np.pi / 2, 200):
                turned = y.clone()
                turned[i] = np.cos(t) * y[i] + np.sin(t) * y[j]
                turned[j] = np.cos(t) * y[j] - np.sin(t) * y[i]
                assert log_sparsity(turned, weight).item() > best - 1e-4


def test_neither_rotation_nor_units_nor_order_of_the_input_matter() -> None:
    shifts = sparse_shifts(3, 60, 6)
    mixed = shifts @ orthogonal(6).T
    y = mixed @ sparsest_rotation(mixed).matrix.T
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    for other, factor, rows in (
        (mixed @ orthogonal(6, 5), 1.0, slice(None)),
        (0.01 * mixed, 0.01, slice(None)),
        (mixed[order], 1.0, order),
    ):
        again = other @ sparsest_rotation(other, seed=1).matrix.T
        torch.testing.assert_close(again, factor * y[rows], rtol=0.0, atol=factor * 0.01)


def test_rows_without_weight_do_not_count() -> None:
    mixed = sparse_shifts(0, 60, 6) @ orthogonal(6).T
    junk = torch.randn(40, 6, generator=torch.Generator().manual_seed(0)).double() * 9
    weight = torch.cat([torch.full((60,), 4.0), torch.zeros(40)])
    with_junk = sparsest_rotation(torch.cat([mixed, junk]), weight)
    torch.testing.assert_close(with_junk.matrix, sparsest_rotation(mixed).matrix)


def test_surplus_latents_complete_the_rotation() -> None:
    q = orthogonal(15)
    mixed = sparse_shifts(0, 80, 10) @ q[:, :10].T
    for seed in range(3):
        found = sparsest_rotation(mixed, n_starts=2, seed=seed)
        assert found.agreement == 1.0
        assert_orthogonal(found.matrix)
        assert worst_cosine(found.matrix, q[:, :10]) > 0.999
        # ordered by size: the empty ones are last
        assert (mixed @ found.matrix.T)[:, 10:].abs().max() < 0.05


def test_fewer_latents_than_the_truth_still_give_a_rotation() -> None:
    assert_orthogonal(sparsest_rotation(sparse_shifts(0) @ orthogonal(15)[:, :6]).matrix)


@pytest.mark.parametrize("intercept", [None, torch.ones(7)])
def test_without_shifts_the_identity(intercept: Tensor | None) -> None:
    still = torch.full((7, 4), 0.0 if intercept is None else 2.3)
    found = sparsest_rotation(still, torch.arange(7.0), intercept)
    assert torch.equal(found.matrix, torch.eye(4).double())
    torch.testing.assert_close(found.origin, still[0].double())
    assert found.agreement == 1.0
    nobody = sparsest_rotation(
        torch.zeros(0, 4), None, intercept[:0] if intercept is not None else None
    )
    assert torch.equal(nobody.matrix, torch.eye(4).double())


def test_noise_alone_one_latent_and_one_row_are_harmless() -> None:
    noise = torch.randn(20, 5, generator=torch.Generator().manual_seed(0))
    for shifts in (noise, noise[:, :1], noise[:1], noise[:, :2]):
        for intercept in (None, torch.ones(len(shifts))):
            found = sparsest_rotation(shifts, None, intercept)
            assert_orthogonal(found.matrix)
            assert torch.isfinite(found.criteria).all()
            assert torch.isfinite(found.origin).all()
    # a single row is sparsest on one axis
    alone = noise[:1].double() @ sparsest_rotation(noise[:1]).matrix.T
    torch.testing.assert_close(alone[0, 0], noise[0].double().norm(), rtol=1e-6, atol=1e-6)
