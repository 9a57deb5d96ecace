"""The best rotation within one plane, globally: the step that `rotation` repeats.

The criterion is sum_p w_p log(1 + y_p^2), summed over both coordinates. Turning (a, b) by t into
(cos t a + sin t b, cos t b - sin t a) leaves a^2 + b^2 as it is and makes of the product a b

    h(t) = cos(2t) a b + sin(2t) (b^2 - a^2) / 2,

so that both coordinates together cost sum_p w_p log(1 + a^2 + b^2 + h^2): one logarithm, period
pi in 2t. A grid finds the basin, Newton's method the bottom.
"""

import math

import torch
from torch import Tensor

GRID = 8  # angles; 16 found the same minima, exact and with noise
NEWTON_STEPS = 3


def log_sparsity(y: Tensor, weight: Tensor) -> Tensor:
    """Sum over perturbations and latents of w log(1 + y^2): (..., latents, perturbations) to (...)."""
    return (weight * y.square().log1p()).sum((-2, -1))


def best_turn(a: Tensor, b: Tensor, weight: Tensor) -> Tensor:
    """The angle t with the lowest criterion, radians.

    Args:
        a: first coordinate, (..., perturbations).
        b: second coordinate, (..., perturbations).
        weight: w, (perturbations,).

    Returns:
        (..., 1).
    """
    base = 1.0 + a.square() + b.square()
    p, q = a * b, 0.5 * (b.square() - a.square())
    cost = torch.stack(
        [
            (weight * (base + (math.cos(x) * p + math.sin(x) * q).square()).log()).sum(-1)
            for x in (math.pi * k / GRID for k in range(GRID))
        ]
    )
    double = (math.pi / GRID) * cost.argmin(0).unsqueeze(-1)
    for _ in range(NEWTON_STEPS):
        double = double + _newton_step(double, base, p, q, weight)
    return 0.5 * double


def _newton_step(double: Tensor, base: Tensor, p: Tensor, q: Tensor, weight: Tensor) -> Tensor:
    """Downhill at most half a grid step; none where the criterion is flat or bends down."""
    h = double.cos() * p + double.sin() * q
    slope_h = double.cos() * q - double.sin() * p  # and h'' = -h
    share = 2.0 / (base + h.square())
    slope = (weight * share * h * slope_h).sum(-1, keepdim=True)
    curved = share * (slope_h.square() - h.square()) - (share * h * slope_h).square()
    curvature = (weight * curved).sum(-1, keepdim=True)
    step = torch.where(curvature > 1e-12, -slope / curvature.clamp(min=1e-12), 0.0)
    return step.clamp(-0.5 * math.pi / GRID, 0.5 * math.pi / GRID)
