"""The linear map after which the latents have unit covariance within a perturbation."""

import torch
from torch import Tensor

from sparseshift.models.least_squares import label_means

FLOOR = 1e-4  # smallest eigenvalue kept, as a share of the largest
_CELLS = 8192  # at once: copies of all latents of a large screen would outweigh its counts


def within_label_covariance(
    mean: Tensor, variance: Tensor, label: Tensor, n_labels: int
) -> Tensor:
    """Covariance of z within a label, pooled over labels: Cov(mean) + average posterior variance.

    The law of total variance for the aggregate posterior of a label. A dead latent (posterior =
    prior) has no variance of the mean and a posterior variance of 1. Labels of one cell add
    nothing to Cov(mean); if all are, only the posterior variance is left.

    Args:
        mean: of q(z | x), (cells, latents).
        variance: of q(z | x), (cells, latents).
        label: (cells,) int64.
        n_labels: labels, with or without cells.

    Returns:
        (latents, latents), squared units of z, float64 on the CPU.
    """
    mean, label = mean.double().cpu(), label.cpu()
    center, size = label_means(mean, label, n_labels)
    squares = torch.zeros(mean.shape[1], mean.shape[1], dtype=mean.dtype)
    within = torch.zeros_like(squares[0])
    for part, spread, codes in zip(
        *(x.split(_CELLS) for x in (mean, variance, label)), strict=True
    ):
        residual = part - center[codes]
        squares += residual.T @ residual
        within += spread.double().cpu().sum(0)
    degrees_of_freedom = max(1, len(mean) - int((size > 0).sum()))
    return squares / degrees_of_freedom + (within / len(mean)).diag()


def whitening(covariance: Tensor) -> Tensor:
    """The symmetric W = C^(-1/2), so that W C W = I.

    Eigenvalues below 1e-4 of the largest are raised to that, so that a direction in which nothing
    varies is not blown up; of a covariance of zero, W is the identity.

    Args:
        covariance: C, (latents, latents), symmetric, positive semi-definite.

    Returns:
        (latents, latents), inverse units of z, float64 on the CPU.
    """
    values, vectors = torch.linalg.eigh(covariance.double().cpu())
    largest = float(values.max())
    if largest <= 0:
        return torch.eye(len(values), dtype=torch.float64)
    return vectors @ (values.clamp(min=FLOOR * largest).rsqrt().unsqueeze(1) * vectors.T)
