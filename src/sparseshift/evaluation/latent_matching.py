"""Which learnt latent stands for which true one: correlations, one-to-one matching, MCC.

A learnt representation can be right up to the order, sign and scale of its latents (Khemakhem et
al. 2020). So latents are matched one to one on |r|, which none of the three changes.
"""

from typing import Literal, NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.stats import rankdata

from sparseshift.errors import OptionError

Correlation = Literal["pearson", "spearman"]


class LatentMatching(NamedTuple):
    """The learnt latent of each true one.

    Attributes:
        learnt: its number, (true latents,) int64; -1 where there is none.
        correlation: their |r|, (true latents,), in [0, 1]; 0 where there is none.
    """

    learnt: np.ndarray
    correlation: np.ndarray

    @property
    def mcc(self) -> float:
        """Mean correlation coefficient: mean |r| over true latents, those without a match as 0.

        Hyvärinen and Morioka 2016; Lopez et al. 2023, Table 1.
        """
        return float(self.correlation.mean())


def match_latents(
    true: np.ndarray, learnt: np.ndarray, kind: Correlation = "pearson", *, signed: bool = False
) -> LatentMatching:
    """Match latents one to one so that the sum of |r| over cells is largest (Hungarian method).

    There may be more or fewer learnt latents than true ones. Latents that correlate with nothing,
    such as constant ones, stay without a match: any would be arbitrary.

    Args:
        true: latents the cells were drawn with, (cells, true latents).
        learnt: latents of the same cells, (cells, learnt latents).
        kind: "pearson", or "spearman" for Pearson on ranks, ties averaged.
        signed: match on r instead of |r|, as the published code does for the graph: a latent that is
            right but for its sign then finds no match, or a wrong one. For comparison alone.

    Raises:
        OptionError: not the same cells, fewer than two, values that are not finite, unknown kind.
    """
    r = correlations(true, learnt, kind)
    r = r.clip(min=0.0) if signed else np.abs(r)
    rows, columns = linear_sum_assignment(r, maximize=True)
    matched = np.full(r.shape[0], -1, dtype=np.int64)
    correlation = np.zeros(r.shape[0])
    correlation[rows] = r[rows, columns]
    matched[rows] = np.where(correlation[rows] > 0, columns, -1)
    return LatentMatching(matched, correlation)


def matched_correlation(
    true: np.ndarray, learnt: np.ndarray, matching: LatentMatching
) -> np.ndarray:
    """|r| of each true latent with the learnt one it was matched to on other cells, (true latents,).

    0 where there is no match.

    Raises:
        OptionError: as `match_latents`, or latents that the matching is not of.
    """
    r = np.abs(correlations(true, learnt))
    if len(matching.learnt) != r.shape[0] or matching.learnt.max(initial=-1) >= r.shape[1]:
        raise OptionError(
            f"The matching is of {len(matching.learnt)} true latents and learnt latents up to number "
            f"{matching.learnt.max(initial=-1)}; there are {r.shape[0]} and {r.shape[1]}."
        )
    chosen = r[np.arange(len(r)), matching.learnt]
    return np.where(matching.learnt >= 0, chosen, 0.0)


def correlations(
    true: np.ndarray, learnt: np.ndarray, kind: Correlation = "pearson"
) -> np.ndarray:
    """Pearson or Spearman r over cells of every pair, (true latents, learnt latents); 0 where one does not vary.

    Raises:
        OptionError: as `match_latents`.
    """
    true, learnt = paired_latents(true, learnt)
    if kind not in {"pearson", "spearman"}:
        raise OptionError(f"kind={kind!r} is not one of 'pearson', 'spearman'.")
    if kind == "spearman":
        true, learnt = (rankdata(values, axis=0) for values in (true, learnt))
    return np.clip(unit_columns(true).T @ unit_columns(learnt), -1.0, 1.0)


def paired_latents(true: np.ndarray, learnt: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both in float64, if they can be compared.

    Raises:
        OptionError: not the same cells, fewer than two, values that are not finite.
    """
    true, learnt = _finite("true", true), _finite("learnt", learnt)
    if len(true) != len(learnt):
        raise OptionError(
            f"The true latents are of {len(true)} cells and the learnt ones of {len(learnt)}. "
            "Pass the same cells in the same order."
        )
    if len(true) < 2:
        raise OptionError(f"Latents of {len(true)} cells cannot be compared: pass at least 2.")
    return true, learnt


def unit_columns(values: np.ndarray) -> np.ndarray:
    """Columns centred and scaled to length one, (cells, latents); a constant one becomes 0."""
    size = np.abs(values).max(axis=0)
    # before squaring, which overflows or underflows for extreme units
    values = values / np.where(size > 0, size, 1.0)
    centred = values - values.mean(axis=0)
    norm = np.linalg.norm(centred, axis=0)
    # what is left of a constant is rounding, not variation
    varies = norm > 1e-12 * np.sqrt(len(values))
    return np.where(varies, centred / np.where(varies, norm, 1.0), 0.0)


def _finite(name: str, values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] == 0:
        raise OptionError(
            f"The {name} latents have shape {values.shape}; expected (cells, latents)."
        )
    if bad := int((~np.isfinite(values)).any(axis=1).sum()):
        raise OptionError(
            f"The {name} latents of {bad} of {len(values)} cells are not finite. Leave out cells "
            "without counts (their latents are NaN), or see whether training diverged."
        )
    return values
