"""Whitening within labels."""

import torch

from sparseshift.models.warm_start.whitening import whitening, within_label_covariance


def draws(n: int, n_latents: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, n_latents, generator=torch.Generator().manual_seed(seed)).double()


def test_the_whitened_covariance_is_the_identity() -> None:
    root = draws(6, 6)
    covariance = root @ root.T + 0.1 * torch.eye(6)
    w = whitening(covariance)
    torch.testing.assert_close(w @ covariance @ w.T, torch.eye(6).double())
    torch.testing.assert_close(w, w.T)


def test_shifts_between_labels_do_not_count() -> None:
    label = torch.arange(300) % 3
    mean, variance = draws(300, 4), draws(300, 4, 1).square()
    moved = mean + 100.0 * draws(3, 4, 2)[label]
    torch.testing.assert_close(
        within_label_covariance(moved, variance, label, 3),
        within_label_covariance(mean, variance, label, 3),
    )


def test_covariance_of_draws_from_the_posterior() -> None:
    label = torch.arange(200_000) % 2
    root, std = draws(3, 3), torch.tensor([0.3, 1.0, 2.0]).double()
    mean = draws(200_000, 3, 1) @ root + label.unsqueeze(1)
    z = mean + std * draws(200_000, 3, 2)
    expected = torch.stack([z[label == k].T.cov() for k in (0, 1)]).mean(0)
    found = within_label_covariance(mean, std.square().expand_as(mean), label, 2)
    torch.testing.assert_close(found, expected, rtol=0.0, atol=0.05)


def test_a_dead_latent_has_the_variance_of_its_posterior() -> None:
    mean, variance = draws(50, 3), torch.full((50, 3), 0.2)
    mean[:, 1], variance[:, 1] = 0.0, 1.0
    covariance = within_label_covariance(mean, variance, torch.zeros(50, dtype=torch.long), 1)
    torch.testing.assert_close(covariance[1], torch.tensor([0.0, 1.0, 0.0]).double())
    torch.testing.assert_close(whitening(covariance)[1], covariance[1])


def test_labels_of_one_cell_are_enough() -> None:
    covariance = within_label_covariance(draws(4, 2), torch.ones(4, 2), torch.arange(4), 6)
    torch.testing.assert_close(covariance, torch.eye(2).double())


def test_without_variance_nothing_is_blown_up() -> None:
    assert torch.equal(whitening(torch.zeros(3, 3)), torch.eye(3).double())
    line = torch.tensor([[1.0, 1.0], [1.0, 1.0]])
    w = whitening(line)
    assert torch.isfinite(w).all()
    assert torch.linalg.eigvalsh(w).max() < 100.0
