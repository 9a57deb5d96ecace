"""What two perturbations do together beyond the sum of what each does alone, latent by latent.

The interaction contrast of four groups of cells, mean(AB) - mean(A) - mean(B) + mean(control), with
an interval from the cells and a word for it: additive, synergistic, buffering, dominated, reversed.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control

from sparseshift.data.design import parts
from sparseshift.errors import OptionError
from sparseshift.evaluation.group_contrasts import Contrast, Groups, contrast, groups_of

CALLED = ("synergistic", "buffering", "dominated", "reversed")
KINDS = (*CALLED, "additive", "not resolvable")
# Cohen's (1988) medium difference, in standard deviations of the latent within a label
NEGLIGIBLE = 0.5

# a row a contrast, of the means of A+B, A, B, control
_CONTRASTS = {
    "interaction": (1, -1, -1, 1),
    "observed": (1, 0, 0, -1),
    "expected": (0, 1, 1, -2),
    "a": (0, 1, 0, -1),
    "b": (0, 0, 1, -1),
    "less_a": (1, -1, 0, 0),
    "less_b": (1, 0, -1, 0),
}
_WIDE = "no interaction and one that matters are both possible"
_CONSTANT = "the latent does not vary"


def interactions(
    latents: np.ndarray,
    labels: Sequence[str] | np.ndarray,
    control: str | None,
    *,
    names: Sequence[str] | None = None,
    level: float = 0.95,
    negligible: float = NEGLIGIBLE,
) -> pd.DataFrame:
    """The non-additive part of every double, a row a double and latent.

    Shifts are differences of mean latents from the control's. The four groups are independent and have
    variances of their own (`group_contrasts`). Intervals are of one comparison each; q-values (Benjamini
    and Hochberg 1995) are over all doubles and latents, for an interaction larger than `negligible`: a
    curved encoder gives small ones to additive doubles too, which enough cells would show.

    A contrast is called "beyond" below if its whole interval is further from 0 than `negligible`. kind,
    where the q-value is below 1 - level:

    - dominated: the double less one single is not beyond, less the other it is, and that one single shifts
      the latent itself (quantitative epistasis, PSI-MI MI:1284);
    - reversed: else, where double and sum are beyond on different sides (over-suppression, MI:1286);
    - synergistic: else, where the double goes further than the sum and than either single (enhancement,
      MI:1278 and MI:1279, here against the sum);
    - buffering: else: less than the sum, or than a single, up to nothing left (suppression, MI:0796).

    Where it is not: additive, if the whole interval is nearer to 0 than `negligible` (two one-sided tests,
    Schuirmann 1987); else not resolvable.

    Args:
        latents: posterior means, (cells, latents).
        labels: of the cells, combinations in canonical form (`A+B`), (cells,). Doubles are labels of two
            different parts; larger combinations are left aside.
        control: the label of control cells; None: there are none, so nothing is resolvable.
        names: of the latents; None: z0, z1, ...
        level: of the intervals.
        negligible: a difference of no interest, standard deviations of the latent within labels.

    Returns:
        perturbation, latent, a, b (shifts of the singles, in the order of the label), expected (their
        sum), observed (the double's shift), interaction (observed - expected), standard_error, lower,
        upper, q_value, kind, dominant (the single that the double equals, or ""), reason (why it is not
        resolvable, or ""). Shifts are in units of z, NaN where cells are missing.

    Raises:
        OptionError: labels or names that do not fit the latents, latents that are not finite, an
            impossible level.
    """
    latents, labels = np.asarray(latents, dtype=np.float64), np.asarray(labels, dtype=str)
    names = [f"z{j}" for j in range(latents.shape[-1])] if names is None else list(names)
    _check(latents, labels, names, level)
    groups = groups_of(latents, labels)
    doubles = [label for label in groups.names if _is_double(label, control)]
    fours = [(double, *parts(double), control) for double in doubles]
    rows = np.array([groups.rows(four) for four in fours], dtype=int).reshape(-1, 4)
    estimates = {
        name: contrast(groups, rows, weights, level) for name, weights in _CONTRASTS.items()
    }
    interaction = estimates["interaction"]
    margin = negligible * groups.pooled_sd
    q_value = _q_values(interaction.p_value(margin))
    kind, dominant = _kinds(estimates, q_value < 1.0 - level, margin, doubles)
    columns = {
        "perturbation": np.repeat(np.array(doubles, dtype=object), len(names)),
        "latent": np.tile(np.array(names, dtype=object), len(doubles)),
        "a": estimates["a"].value,
        "b": estimates["b"].value,
        "expected": estimates["expected"].value,
        "observed": estimates["observed"].value,
        "interaction": interaction.value,
        "standard_error": interaction.standard_error,
        "lower": interaction.value - interaction.half_width,
        "upper": interaction.value + interaction.half_width,
        "q_value": q_value,
        "kind": kind,
        "dominant": dominant,
        "reason": _reasons(groups, fours, kind, q_value),
    }
    return pd.DataFrame({name: np.ravel(values) for name, values in columns.items()})


def _q_values(p_value: np.ndarray) -> np.ndarray:
    known = np.isfinite(p_value)
    q_value = np.full(p_value.shape, np.nan)
    if known.any():
        q_value[known] = false_discovery_control(p_value[known])
    return q_value


def _kinds(
    estimates: dict[str, Contrast],
    is_called: np.ndarray,
    margin: np.ndarray,
    doubles: Sequence[str],
) -> tuple[np.ndarray, np.ndarray]:
    """The kind of each double and latent, and which single the double equals where it is dominated."""
    beyond = {name: estimate.is_beyond(margin) for name, estimate in estimates.items()}
    by_a = ~beyond["less_a"] & beyond["less_b"] & beyond["a"]
    by_b = ~beyond["less_b"] & beyond["less_a"] & beyond["b"]
    value = {name: estimate.value for name, estimate in estimates.items()}
    reach = np.max([np.abs(value[name]) for name in ("expected", "a", "b")], axis=0)
    goes_further = np.abs(value["observed"]) > reach
    reverses = beyond["expected"] & beyond["observed"]
    reverses &= value["observed"] * value["expected"] < 0
    is_dominated = is_called & (by_a | by_b)
    conditions = {
        "dominated": is_dominated,
        "reversed": is_called & reverses,
        "synergistic": is_called & goes_further,
        "buffering": is_called,
        "additive": estimates["interaction"].is_within(margin),
    }
    kind = np.select(list(conditions.values()), list(conditions), "not resolvable")
    singles = np.array([parts(double) for double in doubles], dtype=object).reshape(-1, 2)
    equal = np.where(by_a, singles[:, [0]], singles[:, [1]])
    return kind.astype(object), np.where(is_dominated, equal, "")


def _is_double(label: str, control: str | None) -> bool:
    members = parts(label)
    return len(members) == len(set(members) - {control}) == 2 and label != control


def _reasons(
    groups: Groups, fours: Sequence[Sequence[str | None]], kind: np.ndarray, q_value: np.ndarray
) -> np.ndarray:
    reason = np.where(kind == "not resolvable", _WIDE, "").astype(object)
    reason[~np.isfinite(q_value)] = _CONSTANT
    for row, four in enumerate(fours):
        if missing := _missing(groups, four):
            reason[row] = missing
    return reason


def _missing(groups: Groups, four: Sequence[str | None]) -> str:
    """Which of the four groups have too few cells for a variance, in words."""
    if four[-1] is None:
        return "the screen has no control, so shifts have no origin"
    sizes = zip(four, groups.size[groups.rows(four)].tolist(), strict=True)
    return "; ".join(f"{'1 cell' if n else 'no cells'} of {name}" for name, n in sizes if n < 2)


def _check(latents: np.ndarray, labels: np.ndarray, names: Sequence[str], level: float) -> None:
    if latents.ndim != 2 or latents.shape != (len(labels), len(names)):
        raise OptionError(
            f"The latents have shape {latents.shape}; there are {len(labels)} labels and {len(names)} "
            "names of latents. Expected (cells, latents)."
        )
    if bad := int((~np.isfinite(latents)).any(axis=1).sum()):
        raise OptionError(
            f"The latents of {bad} of {len(latents)} cells are not finite. Leave out cells without counts."
        )
    if not 0.0 < level < 1.0:
        raise OptionError(f"level={level} must be between 0 and 1, such as .95.")
