"""From posteriors to a start: on simulated posteriors the truth, in whatever coordinates."""

import pytest
import torch
from torch import Tensor

from sparseshift.models.warm_start.start import RotatedStart, rotated_start

N_LATENTS = 6


def draws(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def truth(n_perturbations: int = 40) -> Tensor:
    """Effects of size 3 to 5 on one or two of six latents, one-sided."""
    generator = torch.Generator().manual_seed(0)
    effects = torch.zeros(n_perturbations, N_LATENTS).double()
    for row in range(n_perturbations):
        latents = torch.randperm(N_LATENTS, generator=generator)[: 1 + row % 2]
        effects[row, latents] = 3.0 + 2.0 * torch.rand(len(latents), generator=generator).double()
    return effects


def screen(design: Tensor, n_cells: int = 60) -> tuple[Tensor, Tensor]:
    """True z, (cells, latents), and labels; n_cells of every label."""
    label = torch.arange(len(design)).repeat_interleave(n_cells)
    return (design @ truth(design.shape[1]))[label] + draws(len(label), N_LATENTS), label


def mixed(z: Tensor) -> Tensor:
    """Other coordinates: not orthogonal, not centred."""
    return z @ (draws(N_LATENTS, N_LATENTS, seed=3) + 2.0 * torch.eye(N_LATENTS)).T + 1.7


def matched(start: RotatedStart, z: Tensor, posterior: Tensor) -> Tensor:
    """|correlation| of every true latent with its best match, (latents,)."""
    both = torch.cat([z, start.apply(posterior)], 1)
    best = both.T.corrcoef()[:N_LATENTS, N_LATENTS:].abs().max(1)
    assert len(set(best.indices.tolist())) == N_LATENTS
    return best.values


SINGLES = torch.eye(40).double()
CONTROL = torch.cat([torch.zeros(1, 40).double(), SINGLES])
DOUBLES = torch.cat([CONTROL, SINGLES[:10] + SINGLES[10:20]])


@pytest.mark.parametrize(
    "design", [SINGLES, CONTROL, DOUBLES], ids=["singles", "control", "doubles"]
)
def test_latents_and_effects_are_found(design: Tensor) -> None:
    z, label = screen(design)
    start = rotated_start(mixed(z), torch.zeros_like(z), label, design)
    assert start.agreement == 1.0
    assert matched(start, z, mixed(z)).min() > 0.99
    edges = (start.effects.abs() > 1.0).sum(1)
    assert torch.equal(edges, (truth() != 0).sum(1))
    torch.testing.assert_close(start.effects.norm(dim=1), truth().norm(dim=1), rtol=0.15, atol=0.0)


def test_the_control_or_what_most_leave_alone_is_at_zero() -> None:
    z, label = screen(CONTROL)
    posterior = mixed(z)
    start = rotated_start(posterior, torch.zeros_like(z), label, CONTROL)
    control_mean = start.apply(posterior)[label == 0].mean(0)
    torch.testing.assert_close(control_mean, torch.zeros(N_LATENTS).double(), atol=1e-9, rtol=0.0)
    # without control cells: from sparsity alone, although all effects have one sign
    perturbed = label > 0
    free = rotated_start(
        posterior[perturbed], torch.zeros_like(z)[perturbed], label[perturbed], CONTROL
    )
    assert free.apply(mixed(torch.zeros(1, N_LATENTS).double())).abs().max() < 0.25


def test_effects_are_least_squares_of_the_new_latents() -> None:
    for design in (SINGLES, DOUBLES):
        z, label = screen(design, n_cells=5)
        start = rotated_start(mixed(z), torch.full_like(z, 0.1), label, design)
        residual = start.apply(mixed(z)) - (design @ start.effects)[label]
        assert (design[label].T @ residual).abs().max() < 1e-8


def test_the_old_coordinates_do_not_matter() -> None:
    z, label = screen(SINGLES)
    one = rotated_start(z, torch.zeros_like(z), label, SINGLES)
    other = rotated_start(mixed(z), torch.zeros_like(z), label, SINGLES, seed=1)
    # not exactly: the scale of the criterion is taken about a median, coordinate by coordinate
    torch.testing.assert_close(other.effects, one.effects, rtol=0.0, atol=0.05)


def test_latents_are_whitened_within_labels() -> None:
    z, label = screen(CONTROL)
    start = rotated_start(mixed(z), torch.zeros_like(z), label, CONTROL)
    new = start.apply(mixed(z))
    residual = torch.cat([new[label == k] - new[label == k].mean(0) for k in range(41)])
    torch.testing.assert_close(
        residual.T.cov(), torch.eye(N_LATENTS).double(), rtol=0.0, atol=0.02
    )


def test_dead_latents_small_labels_and_unseen_perturbations() -> None:
    design = torch.cat([SINGLES, torch.zeros(1, 40).double()])
    z, label = screen(SINGLES)
    posterior, variance = mixed(z), torch.full_like(z, 0.2)
    posterior[:, 5], variance[:, 5] = 0.0, 1.0
    keep = (label != 3) & ((label != 4) | (torch.arange(len(label)) == 4 * 60))
    start = rotated_start(posterior[keep], variance[keep], label[keep], design)
    for name, value in start._asdict().items():
        assert torch.isfinite(torch.as_tensor(value)).all(), name
    assert start.cells[3:5].tolist() == pytest.approx([0.0, 1.0])
    assert not start.effects[3].any()
    # a latent without shifts is the last of the new ones
    assert start.effects[torch.arange(40) != 4, 5].abs().max() < 0.2


def test_only_a_control() -> None:
    z, label = draws(20, N_LATENTS), torch.zeros(20, dtype=torch.long)
    start = rotated_start(z, torch.ones_like(z), label, torch.zeros(1, 0))
    assert start.effects.shape == (0, N_LATENTS)
    torch.testing.assert_close(start.origin, z.mean(0))


def test_float32_in_float64_out() -> None:
    z, label = screen(SINGLES, n_cells=8)
    z32 = z.float().requires_grad_()
    start = rotated_start(z32, torch.full_like(z32, 0.1), label, SINGLES.float())
    assert start.transform.dtype == start.effects.dtype == torch.float64
    assert not start.transform.requires_grad
    assert start.apply(z32).dtype == torch.float32
