"""Who is trained on, adapted on and scored: a split of a screen's cells, as a small hashed file."""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sparseshift.data.design import SEPARATOR, parts
from sparseshift.errors import ScreenError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Split:
    """Cells by name. Cells of perturbations that are not held out are trained on, but those to score.

    Attributes:
        name: of the split.
        seed: it was drawn with.
        held_out: labels no model trains on.
        support: cells of held-out labels to adapt to.
        query: cells to score, disjoint from support: of held-out labels, or, where random cells are
            held out, some of every trained perturbation.
        control_a: one half of the control cells: what predicted effects start from.
        control_b: the other half: what observed effects start from. With shared controls their
            noise alone correlates predictions with observations. Models train on both halves.
    """

    name: str
    seed: int
    held_out: tuple[str, ...]
    support: tuple[str, ...]
    query: tuple[str, ...]
    control_a: tuple[str, ...]
    control_b: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """Hash of the content, hexadecimal."""
        content = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(content.encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Plain data with the hash."""
        plain = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        return {**plain, "sha256": self.sha256}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Split":
        """The split of a file.

        Raises:
            ScreenError: the content is not the one that was hashed.
        """
        expected_keys = {*cls.__dataclass_fields__, "sha256"}
        if set(content) != expected_keys:
            raise ScreenError(
                f"This is not a split file: it has {', '.join(sorted(content))}; expected "
                f"{', '.join(sorted(expected_keys))}."
            )
        plain: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in content.items()
        }
        expected = plain.pop("sha256", None)
        split = cls(**plain)
        if split.sha256 != expected:
            raise ScreenError(
                f"The split file {split.name!r} was changed after it was made (its content does not "
                f"have the sha256 {expected}). Make it anew: kedro run --pipelines data_engineering"
            )
        return split

    def is_training(self, cells: Sequence[str], labels: np.ndarray) -> np.ndarray:
        """Which cells are trained on, (cells,) bool: not of a held-out label, and not to be scored.

        Args:
            cells: their names.
            labels: of these cells, (cells,).
        """
        held_out = np.isin(np.asarray(labels, dtype=str), np.asarray(self.held_out, dtype=str))
        return ~held_out & ~np.isin(
            np.asarray(cells, dtype=str), np.asarray(self.query, dtype=str)
        )


def make_split(
    cells: Sequence[str],
    labels: np.ndarray,
    control: str | None,
    *,
    name: str,
    held_out: int | Sequence[str],
    seed: int,
    support_fraction: float = 0.5,
    cells_fraction: float = 0.0,
) -> Split:
    """Draws a split.

    A held-out label with a single cell is neither adapted to nor scored, and named in a warning.

    Args:
        cells: names, unique.
        labels: of the cells, (cells,).
        control: the control's label.
        name: of the split.
        held_out: labels to hold out (combinations in any order of their parts), or how many to
            draw among the perturbations.
        seed: of all draws.
        support_fraction: share of each held-out label's cells that goes to support; at least one
            cell stays on either side.
        cells_fraction: share of the cells of every trained perturbation that is scored instead of
            trained on; at least one cell stays on either side.

    Raises:
        ScreenError: a held-out label is not in the screen, or too many are asked for.
    """
    rng = np.random.default_rng(seed)
    names, labels = np.asarray(cells, dtype=str), np.asarray(labels, dtype=str)
    if not isinstance(held_out, (int, np.integer)) and control in held_out:
        raise ScreenError(f"{control!r} is the control, which cannot be held out.")
    chosen = _choose(rng, sorted(set(labels.tolist()) - {control}), held_out)
    support: list[str] = []
    query: list[str] = []
    for label in chosen:
        members = rng.permutation(names[labels == label])
        if len(members) < 2:
            logger.warning(
                "Split %r: the perturbation %r has %d cell; one held out needs at least 2, some to adapt to and some to "
                "score. It is held out and not scored.", name, label, len(members),
            )  # fmt: skip
            continue
        n_support = min(max(1, round(support_fraction * len(members))), len(members) - 1)
        support.extend(members[:n_support].tolist())
        query.extend(members[n_support:].tolist())
    if cells_fraction:
        query += _random_cells(rng, names, labels, {control, *chosen}, cells_fraction)
    controls = rng.permutation(names[labels == control]) if control is not None else names[:0]
    half = len(controls) // 2
    return Split(
        name=name,
        seed=seed,
        held_out=tuple(chosen),
        support=tuple(sorted(support)),
        query=tuple(sorted(query)),
        control_a=tuple(sorted(controls[:half].tolist())),
        control_b=tuple(sorted(controls[half:].tolist())),
    )


def _random_cells(
    rng: np.random.Generator,
    names: np.ndarray,
    labels: np.ndarray,
    without: set[str | None],
    fraction: float,
) -> list[str]:
    drawn: list[str] = []
    for label in sorted(set(labels.tolist()) - without):
        members = rng.permutation(names[labels == label])
        n_query = min(max(1, round(fraction * len(members))), len(members) - 1)
        drawn.extend(members[:n_query].tolist())
    return drawn


def _choose(
    rng: np.random.Generator, perturbations: list[str], held_out: int | Sequence[str]
) -> list[str]:
    if isinstance(held_out, (int, np.integer)):
        if not 0 <= held_out < len(perturbations):
            raise ScreenError(
                f"{held_out} perturbations cannot be held out of {len(perturbations)}: at least one "
                "must stay for training."
            )
        return sorted(rng.choice(perturbations, size=held_out, replace=False).tolist())
    held_out = [held_out] if isinstance(held_out, str) else held_out
    held_out = [SEPARATOR.join(sorted(parts(label))) for label in held_out]
    if missing := sorted(set(held_out) - set(perturbations)):
        raise ScreenError(
            f"Held-out perturbations that the screen does not have: {', '.join(missing)}. "
            f"It has, for example, {', '.join(perturbations[:10])}."
        )
    if len(set(held_out)) >= len(perturbations):
        raise ScreenError("All perturbations are held out: at least one must stay for training.")
    return sorted(set(held_out))
