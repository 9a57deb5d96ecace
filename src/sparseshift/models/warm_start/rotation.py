"""The rotation, and where there is no control the origin, that make shifts sparse.

Minimises sum_p w_p log(1 + (y_pj / s)^2) over orthogonal R and, if free, the origin o, where
y_p = R (x_p - u_p o). Every pair of coordinates in turn is turned to its global optimum (Jacobi
sweeps, `plane`), after every sweep the origin takes a few steps of reweighted least squares.
All starts run at once. Descent along the gradient is stuck in up to half of its starts with two
latents mixed at 45 degrees, which is a local optimum of R but not of a plane
(docs/decisions/0008-rotation.md).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from sparseshift.models.warm_start.plane import best_turn, log_sparsity

SCALE = 0.5  # s, in root mean squares of the shifts
MAX_SWEEPS = 60
TOLERANCE = 1e-7  # stop when no start gains this share of its criterion in a sweep
SAME = 1e-4  # starts that agree: criteria no further apart than this share
ORIGIN_STEPS = 3


class Rotation(NamedTuple):
    """What the best start found.

    Attributes:
        matrix: R, (latents, latents), orthogonal; rows by falling size of their shifts, signs so
            that large shifts are positive on balance. Rotated shifts: (x - u o) R^T.
        origin: o, in the coordinates before rotation, (latents,); 0 unless it was free.
        criteria: of every start, (starts,).
    """

    matrix: Tensor
    origin: Tensor
    criteria: Tensor

    @property
    def agreement(self) -> float:
        """Share of the starts that ended where the best one did, by their criteria."""
        best = self.criteria.min()
        return float((self.criteria <= best + SAME * best.abs()).double().mean())


def sparsest_rotation(
    shifts: Tensor,
    weight: Tensor | None = None,
    intercept: Tensor | None = None,
    *,
    n_starts: int = 16,
    seed: int = 0,
    scale: float | None = None,
) -> Rotation:
    """The rotation after which shifts are sparsest.

    Args:
        shifts: x, (perturbations, latents), of latents with unit covariance within a label.
        weight: w, how much each row counts, (perturbations,); None: all the same.
        intercept: u, how the origin enters each row, (perturbations,): ones for plain means. None:
            the origin is known and is 0.
        n_starts: rotations to start from, drawn uniformly (Haar).
        seed: of the starts.
        scale: s, in units of the shifts; None: half their root mean square.

    Returns:
        The best start. Directions without shifts complete the rotation, in an arbitrary basis.
        Of shifts that are all 0 (or none) the identity.
    """
    x = shifts.detach().double().cpu()
    n_rows, n_latents = x.shape
    w = torch.ones(n_rows).double() if weight is None else weight.detach().double().cpu()
    w = w / w.sum().clamp(min=1e-300)
    u = torch.zeros(n_rows).double() if intercept is None else intercept.detach().double().cpu()
    origin = _median(x, u)
    centered = x - u.unsqueeze(1) * origin
    spread = float((w @ centered.square()).mean().sqrt()) if n_rows else 0.0
    # rounding alone is no shift: the median of equal rows need not be equal to them
    if spread <= 1e-12 * (1.0 + float(x.abs().sum())):
        return Rotation(torch.eye(n_latents).double(), origin, torch.zeros(n_starts).double())
    s = scale if scale is not None else SCALE * spread
    frames = _haar(n_starts, n_latents, seed)
    # the last column of a frame is the origin, in rotated coordinates; it turns with the rest
    frames = torch.cat([frames, torch.zeros(n_starts, n_latents, 1).double()], -1)
    frames, criteria = _sweep(frames, centered / s, u, w)
    best = int(criteria.argmin())
    matrix, moved = frames[best, :, :-1], frames[best, :, -1]
    y = (centered @ matrix.T) - u.unsqueeze(1) * (s * moved)
    return Rotation(_canonical(matrix, y, w), origin + s * (matrix.T @ moved), criteria)


def _sweep(frames: Tensor, x: Tensor, u: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """Sweeps until no start gains any more; frames (starts, latents, latents + 1)."""
    y = frames[..., :-1] @ x.T
    rounds = _rounds(y.shape[1])
    last = log_sparsity(y, w)
    for _ in range(MAX_SWEEPS):
        for i, j in rounds:
            t = best_turn(y[:, i], y[:, j], w)
            _turn(y, i, j, t)
            _turn(frames, i, j, t)
        for _ in range(ORIGIN_STEPS if u.any() else 0):
            step = _origin_step(y, u, w)
            frames[..., -1] += step
            y -= step.unsqueeze(-1) * u
        criteria = log_sparsity(y, w)
        if (last - criteria <= TOLERANCE * last).all():
            return frames, criteria
        last = criteria
    return frames, last


def _turn(rows: Tensor, i: Tensor, j: Tensor, t: Tensor) -> None:
    a, b, c, s = rows[:, i], rows[:, j], t.cos(), t.sin()
    rows[:, i], rows[:, j] = c * a + s * b, c * b - s * a


def _origin_step(y: Tensor, u: Tensor, w: Tensor) -> Tensor:
    """Towards the least w log(1 + (y - u step)^2): a majorising parabola, so never uphill."""
    pull = w * u / (1.0 + y.square())
    return (pull * y).sum(-1) / (pull * u).sum(-1).clamp(min=1e-300)


def _median(x: Tensor, u: Tensor) -> Tensor:
    """Where x / u is in the middle, latent by latent: most rows do not shift a given latent."""
    enters = u.abs() > 1e-6
    if not enters.any():
        return x.new_zeros(x.shape[1])
    return (x[enters] / u[enters].unsqueeze(1)).quantile(0.5, dim=0)


def _rounds(n: int) -> list[tuple[Tensor, Tensor]]:
    """All pairs of n coordinates, in rounds of disjoint pairs (a round robin)."""
    seats = list(range(n + n % 2))
    rounds = []
    for _ in range(len(seats) - 1):
        pairs = [(seats[k], seats[-1 - k]) for k in range(len(seats) // 2)]
        i, j = torch.tensor([p for p in pairs if max(p) < n], dtype=torch.long).reshape(-1, 2).T
        rounds.append((i, j))
        seats = [seats[0], seats[-1], *seats[1:-1]]
    return rounds


def _haar(n: int, n_latents: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(n, n_latents, n_latents, generator=generator, dtype=torch.float64)
    # uniform but for signs, which the criterion does not see
    return torch.linalg.qr(normal)[0]


def _canonical(matrix: Tensor, y: Tensor, w: Tensor) -> Tensor:
    """Order and signs of the rows, which the criterion leaves open, as `Rotation` says."""
    order = (w @ y.square()).argsort(descending=True)
    positive = (w @ y**3)[order] >= 0
    return torch.where(positive, 1.0, -1.0).unsqueeze(1) * matrix[order]
