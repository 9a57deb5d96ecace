"""Effects as sums of parts, shrunk: ridge regression of training effects on the design.

`additive_effect` needs every part alone; this also learns parts from combinations, and shrinks
(Hoerl and Kennard 1970).
"""

import numpy as np

PENALTIES = tuple(np.logspace(-3, 2, 21).tolist())


def ridge_effects(design: np.ndarray, effects: np.ndarray, penalty: float) -> np.ndarray:
    """Effect of each part, (parts, genes): argmin_B |E - D B|² + penalty |B|².

    A combination's prediction is the sum of its parts; parts never trained have effect 0.

    Args:
        design: D, how often each part is in each training label, (labels, parts).
        effects: E, mean expression less the control's, (labels, genes).
        penalty: positive; every label counts the same, whatever its cells.
    """
    u, s, vt = np.linalg.svd(design, full_matrices=False)
    return vt.T @ ((s / (s**2 + penalty))[:, None] * (u.T @ effects))


def leave_one_out_error(design: np.ndarray, effects: np.ndarray, penalty: float) -> float:
    """Mean squared error over labels and genes, each label predicted from all the others.

    Without refitting: the residual of a label left out is its residual / (1 - H_ii), H = D (D'D +
    penalty I)^-1 D' (Allen 1974, PRESS).
    """
    u, s, _ = np.linalg.svd(design, full_matrices=False)
    hat = (u * (s**2 / (s**2 + penalty))) @ u.T
    residual = (effects - hat @ effects) / (1.0 - np.diag(hat))[:, None]
    return float((residual**2).mean())


def choose_penalty(
    design: np.ndarray, effects: np.ndarray, penalties: tuple[float, ...] = PENALTIES
) -> float:
    """The penalty with the smallest leave-one-label-out error; the smallest of equals.

    Where every part is in one label only, no label says anything of another: all penalties are
    equal and the smallest leaves the effects as they are.
    """
    errors = np.array([leave_one_out_error(design, effects, penalty) for penalty in penalties])
    good = errors <= errors.min() * (1.0 + 1e-9)
    return min(penalty for penalty, best in zip(penalties, good, strict=True) if best)
