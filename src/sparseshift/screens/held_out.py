"""Which perturbations of a screen are held out, by a rule instead of by name."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from anndata import AnnData

from sparseshift.data.design import SEPARATOR, parts
from sparseshift.errors import OptionError, ScreenError
from sparseshift.screens.cells import read_perturbations
from sparseshift.screens.columns import Columns
from sparseshift.screens.effect_sizes import effect_sizes
from sparseshift.screens.faults import some

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class HeldOutRule:
    """One way to choose; exactly one of the first four is given.

    Attributes:
        largest: So many perturbations with the largest effects (`effect_sizes`).
        listed: These, as far as the screen has them.
        doubles: So many combinations of two.
        fold: This of `n_folds` folds, counted from 0; with all of them each perturbation is held out once.
        n_folds: Of the perturbations, dealt at random; equal seeds deal alike.
        singles_seen: How many of the two genes of each are seen in training: 2 for doubles whose
            singles are both there, and stay; with 1 or 0, every label with the unseen gene is held
            out too, so that nothing of it is trained.
    """

    largest: int | None = None
    listed: tuple[str, ...] | None = None
    doubles: int | None = None
    fold: int | None = None
    n_folds: int = 5
    singles_seen: int = 2

    def __post_init__(self) -> None:
        given = [f.name for f in fields(self)[:4] if getattr(self, f.name) is not None]
        if len(given) != 1:
            raise OptionError(
                f"held_out: give one of largest, listed, doubles and fold (given: {', '.join(given) or 'none'})."
            )
        if self.singles_seen not in {0, 1, 2}:
            raise OptionError(
                f"held_out: singles_seen is {self.singles_seen}; it can be 0, 1 or 2."
            )
        if self.fold is not None and not 0 <= self.fold < self.n_folds:
            raise OptionError(
                f"held_out: fold is {self.fold}; of {self.n_folds} folds it can be 0 to {self.n_folds - 1}."
            )
        for name in ("largest", "doubles"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise OptionError(f"held_out: {name} must be 1 or more.")


def choose_held_out(adata: AnnData, columns: Columns, rule: HeldOutRule, seed: int) -> list[str]:
    """The labels to hold out, sorted.

    Args:
        adata: The screen, filtered.
        columns: Its columns.
        rule: How to choose.
        seed: Of what is drawn.

    Of doubles and listed perturbations those are held out that there are; a warning names the rest.

    Raises:
        ScreenError: The screen does not have what the rule asks for; the message says what it has.
    """
    labels = sorted(set(read_perturbations(adata, columns).tolist()) - {columns.control})
    if rule.largest is not None:
        _enough(rule.largest, labels, "perturbations")
        return sorted(effect_sizes(adata, columns, seed=seed).index[: rule.largest])
    if rule.listed is not None:
        return _listed(rule.listed, labels)
    if rule.fold is not None:
        return _fold(labels, rule.fold, rule.n_folds, np.random.default_rng(seed))
    return _doubles(labels, int(rule.doubles or 0), rule.singles_seen, np.random.default_rng(seed))


def _enough(n: int, labels: Sequence[str], what: str) -> None:
    if n >= len(labels):
        raise ScreenError(
            f"{n} {what} cannot be held out of {len(labels)}: at least one must stay for training."
        )


def _listed(listed: Sequence[str], labels: Sequence[str]) -> list[str]:
    there = sorted(set(listed) & set(labels))
    if not there:
        raise ScreenError(
            f"None of the {len(listed)} listed perturbations ({some(listed)}) is in the screen after its filters. "
            f"It has {some(labels, 10)}."
        )
    if absent := sorted(set(listed) - set(labels)):
        logger.warning(
            "%d of %d listed perturbations are not in the screen: %s",
            len(absent), len(listed), some(absent, 20),
        )  # fmt: skip
    return there


def _fold(labels: Sequence[str], fold: int, n_folds: int, rng: np.random.Generator) -> list[str]:
    if n_folds < 2 or n_folds > len(labels):
        raise ScreenError(
            f"{len(labels)} perturbations cannot be dealt to {n_folds} folds: 2 to {len(labels)} are possible."
        )
    return sorted(rng.permutation(np.array(labels))[fold::n_folds].tolist())


def _doubles(labels: Sequence[str], n: int, seen: int, rng: np.random.Generator) -> list[str]:
    pairs = [label for label in labels if len(set(parts(label))) == 2]
    if not pairs:
        logger.warning(
            "Doubles are to be held out, but none of the %d perturbations combines two genes with %r: %s. "
            "Nothing is held out.", len(labels), SEPARATOR, some(labels, 10),
        )  # fmt: skip
        return []
    singles = set(labels)
    complete = [pair for pair in pairs if set(parts(pair)) <= singles]
    chosen: set[str] = set()
    kept: set[str] = set()  # genes that some chosen double counts on as seen
    unseen: set[str] = set()
    for pair in rng.permutation(complete).tolist():
        genes = rng.permutation(parts(pair)).tolist()
        new, rest = set(genes[seen:]), set(genes[:seen])
        if len(chosen) < n and not new & kept and not rest & unseen:
            chosen.add(pair)
            kept |= rest
            unseen |= new
    if len(chosen) < n:
        logger.warning(
            "%d doubles with %d of their singles seen are to be held out; %d can be together: %s. Of %d doubles %d have both "
            "genes perturbed alone. Another seed may find more.",
            n, seen, len(chosen), some(sorted(chosen), 10), len(pairs), len(complete),
        )  # fmt: skip
    held_out = chosen | {label for label in labels if unseen & set(parts(label))}
    _enough(
        len(held_out), labels, "perturbations (the doubles, and all labels with an unseen gene)"
    )
    return sorted(held_out)
