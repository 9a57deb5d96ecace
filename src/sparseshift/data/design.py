"""Which perturbations a label stands for: the design matrix D of a screen.

A label is what obs says of a cell: the control, a gene, or a combination `A+B`. With additive
shifts the rows of the effect table are the genes and a combination adds up its parts; with a
shift table every label but the control is a row of its own.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from sparseshift.errors import ScreenError

SEPARATOR = "+"


def parts(label: str) -> list[str]:
    """The perturbations that a label combines, stripped, in the order written: `A+B` is [A, B]."""
    return [part.strip() for part in label.split(SEPARATOR)]


@dataclass(frozen=True)
class Design:
    """The perturbations (rows of the effect table) and how labels are made of them.

    Attributes:
        perturbations: names of the rows, in order.
        control: the label whose shift is zero; None if the screen has none.
        additive: whether a combination is the sum of its parts.
    """

    perturbations: tuple[str, ...]
    control: str | None
    additive: bool

    @classmethod
    def of_labels(cls, labels: Iterable[str], control: str | None, *, additive: bool) -> "Design":
        """The smallest design that can express all these labels."""
        perturbed = set(labels) - {control}
        names = {p for label in perturbed for p in parts(label)} if additive else perturbed
        return cls(tuple(sorted(names - {control})), control, additive)

    def members(self, label: str) -> tuple[str, ...]:
        """The perturbations of one label, none for the control; they need not be known."""
        if label == self.control:
            return ()
        if not self.additive:
            return (label,)
        return tuple(p for p in parts(label) if p != self.control)

    def unknown(self, labels: Iterable[str]) -> list[str]:
        """The perturbations of these labels that are not rows of this design, sorted."""
        known = set(self.perturbations)
        return sorted({p for label in labels for p in self.members(label)} - known)

    def extend(self, perturbations: Iterable[str]) -> "Design":
        """This design with further rows at the end."""
        new = tuple(p for p in perturbations if p not in self.perturbations)
        return Design(self.perturbations + new, self.control, self.additive)

    def matrix(self, labels: Sequence[str]) -> np.ndarray:
        """D for a list of labels, shape (labels, perturbations), float32; the control is zero.

        Raises:
            ScreenError: a label has a perturbation that is not in the design.
        """
        if missing := self.unknown(labels):
            raise ScreenError(
                f"This model was not trained on: {', '.join(missing[:10])}"
                f"{' and more' if len(missing) > 10 else ''}. It knows "
                f"{', '.join(self.perturbations[:10])}{' ...' if len(self.perturbations) > 10 else ''}"
                ". Call adapt() with some cells of the new perturbations first."
            )
        row = {p: i for i, p in enumerate(self.perturbations)}
        design = np.zeros((len(labels), len(self.perturbations)), dtype=np.float32)
        for i, label in enumerate(labels):
            for p in self.members(label):
                design[i, row[p]] += 1.0
        return design
