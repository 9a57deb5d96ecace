"""Effects of perturbations from means of labels: least squares on the design, weighted by cells.

M_l = sum_p D_lp e_p + noise of variance 1 / n_l. With one label a perturbation the effect is the
label's mean.
"""

import torch
from torch import Tensor

RANK_TOLERANCE = 1e-9  # of a singular value to the largest; of a real one it is hardly below 1e-3


def label_means(value: Tensor, label: Tensor, n_labels: int) -> tuple[Tensor, Tensor]:
    """Means of the cells of each label, zero where there are none, and how many cells there are.

    Args:
        value: (cells, latents).
        label: (cells,) int64.
        n_labels: labels, with or without cells.

    Returns:
        (labels, latents) and (labels,), in the type of `value`.
    """
    size = torch.bincount(label, minlength=n_labels).to(value.dtype)
    total = value.new_zeros(n_labels, value.shape[1]).index_add(0, label, value)
    return total / size.clamp(min=1.0).unsqueeze(1), size


def additive_effects(shift: Tensor, size: Tensor, design: Tensor) -> Tensor:
    """The effects that minimise sum_l n_l ||shift_l - D_l e||^2.

    Args:
        shift: of each label, (labels, latents).
        size: cells n of each label, (labels,); labels without cells do not count.
        design: D, (labels, perturbations).

    Returns:
        (perturbations, latents), float64 on the CPU. Where the labels do not tell perturbations
        apart the solution of smallest norm: of two seen only together each gets half, of one
        never seen the effect is 0.
    """
    seen = size > 0
    weight = size[seen].double().cpu().sqrt().unsqueeze(1)
    # gelsd: minimum norm also without full rank. Of what combinations do not tell apart the singular
    # values are rounding, at times above gelsd's own bound, and their inverse is 1e13.
    return torch.linalg.lstsq(
        weight * design[seen].double().cpu(),
        weight * shift[seen].double().cpu(),
        rcond=RANK_TOLERANCE,
        driver="gelsd",
    ).solution


def effect_precision(size: Tensor, design: Tensor) -> Tensor:
    """How many cells each effect is worth: 1 / diag((D^T N D)^+), N = diag(n).

    The variance of `additive_effects` is its inverse, for cells of unit variance.

    Args:
        size: cells of each label, (labels,).
        design: (labels, perturbations).

    Returns:
        (perturbations,), cells, float64 on the CPU: the cells of a perturbation seen alone, fewer
        of one seen in combinations, 0 of one never seen.
    """
    d = design.double().cpu()
    information = d.T @ (size.double().cpu().unsqueeze(1) * d)
    variance = torch.linalg.pinv(information, rtol=RANK_TOLERANCE, hermitian=True)
    diagonal = variance.diagonal()
    # a never seen perturbation has variance 0 in the pseudo-inverse, up to rounding
    found = diagonal > 1e-12 * diagonal.abs().max() if len(diagonal) else diagonal > 0
    return torch.where(found, 1.0 / diagonal.clamp(min=1e-300), torch.zeros_like(diagonal))
