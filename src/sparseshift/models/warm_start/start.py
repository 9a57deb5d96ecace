"""From posterior means of a plain VAE to coordinates in which perturbations shift few latents."""

from typing import NamedTuple

import torch
from torch import Tensor

from sparseshift.models.least_squares import additive_effects, effect_precision, label_means
from sparseshift.models.warm_start.rotation import sparsest_rotation
from sparseshift.models.warm_start.whitening import whitening, within_label_covariance


class RotatedStart(NamedTuple):
    """Where a sparse model may start. All float64 on the CPU.

    Attributes:
        transform: A of z' = A (z - c), (latents, latents).
        origin: c, in the old coordinates, (latents,).
        effects: of each perturbation on z', (perturbations, latents), not masked.
        cells: how many cells each effect is worth, (perturbations,).
        criteria: of every start of the rotation, (starts,).
        agreement: share of the starts that ended at the best; below 1/2 the rotation is not to be
            trusted: too few perturbations, too dense, too small.
    """

    transform: Tensor
    origin: Tensor
    effects: Tensor
    cells: Tensor
    criteria: Tensor
    agreement: float

    def apply(self, z: Tensor) -> Tensor:
        """New coordinates A (z - c) of old ones, (cells, latents): VAE + rotation as a method."""
        return (z - self.origin.to(z)) @ self.transform.to(z).T


def rotated_start(
    mean: Tensor,
    variance: Tensor,
    label: Tensor,
    design: Tensor,
    *,
    n_starts: int = 16,
    seed: int = 0,
) -> RotatedStart:
    """Whitens, rotates to sparse effects and reads off effects.

    The origin is the mean of the control cells (rows of zeros in the design); without any it is
    found with the rotation: most perturbations leave a given latent where it was.

    It is the effects of the perturbations, not the shifts of the labels, that are made sparse:
    a combination adds up its parts and is less sparse than they are. Rows weigh as the root of
    their cells.

    Args:
        mean: of q(z | x), (cells, latents).
        variance: of q(z | x), (cells, latents).
        label: row of the design, (cells,) int64.
        design: (labels, perturbations).
        n_starts: of the rotation.
        seed: of these starts.
    """
    mean, design, label = mean.detach().double().cpu(), design.double().cpu(), label.cpu()
    covariance = within_label_covariance(mean, variance.detach(), label, len(design))
    w = whitening(covariance)
    center, size = label_means(mean, label, len(design))
    center = center @ w
    control = (size > 0) & ~design.any(1)
    cells = effect_precision(size, design)
    intercept = None
    origin = mean.new_zeros(mean.shape[1])
    if control.any():
        origin = size[control] @ center[control] / size[control].sum()
    else:
        intercept = additive_effects(torch.ones(len(design), 1), size, design).squeeze(1)
    shifts = additive_effects(center - origin, size, design)
    rotation = sparsest_rotation(shifts, cells.sqrt(), intercept, n_starts=n_starts, seed=seed)
    if intercept is not None:
        origin = rotation.origin
        shifts = shifts - intercept.unsqueeze(1) * origin
    effects = shifts @ rotation.matrix.T
    return RotatedStart(
        transform=rotation.matrix @ w,
        origin=torch.linalg.solve(w, origin),
        effects=effects,
        cells=cells,
        criteria=rotation.criteria,
        agreement=rotation.agreement,
    )
