"""How a file writes what was done to a cell, and how that becomes the control's name, a gene, or `A+B`."""

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
import pandas as pd

from sparseshift.data.design import SEPARATOR
from sparseshift.errors import OptionError
from sparseshift.screens.columns import combine


@dataclass(frozen=True)
class LabelRule:
    """From labels as they are written in a file to canonical ones.

    A label is cut down by `pattern`, split by `separator`, each part is cut down by `part`; the parts
    that are the control are dropped and the others sorted and joined by `+`.

    Attributes:
        controls: What the control is called, also as a part (`A+ctrl`); `*` stands for any letters.
        control: What it is called from here on.
        separator: Between the parts of a combination. None: a label is one perturbation whatever
            it contains, and a `+` in it (the strand of a guide) is written `plus`.
        pattern: Regular expression whose first group is what counts of a label: `^(.+?)__` of
            `CBL_CNN1__CBL_CNN1`. Labels that do not match stay as they are.
        part: The same for each part: `^(.+)_[0-9]+$` makes the gene of the guide `JAK2_3`.
    """

    controls: tuple[str, ...] = ()
    control: str | None = None
    separator: str | None = SEPARATOR
    pattern: str | None = None
    part: str | None = None

    def __post_init__(self) -> None:
        if bool(self.controls) != (self.control is not None):
            raise OptionError(
                f"labels: controls is {list(self.controls)} and control is {self.control!r}: give "
                "both, what the control is called in the file and what it shall be called, or neither."
            )
        if self.separator == "":
            raise OptionError("labels: separator is empty; give null where labels do not combine.")
        for name in ("pattern", "part"):
            _check(name, getattr(self, name))

    def canonical(self, label: str) -> str:
        """One label by the rule; the empty string where nothing is left of it.

        Example:
            >>> LabelRule(("ctrl",), "control").canonical("B+ctrl + A")
            'A+B'
        """
        text = _first_group(self.pattern, label.strip())
        if self.separator is None:
            short = _first_group(self.part, text)
            is_control = self._is_control(text) or self._is_control(short)
            return str(self.control) if is_control else short.replace(SEPARATOR, "plus")
        if text in self.controls:  # whole and to the letter: `NegCtrl*` is not NegCtrl0_CBL
            return str(self.control)
        parts = [part.strip() for part in text.split(self.separator)]
        genes = [_first_group(self.part, part) for part in parts if not self._is_control(part)]
        kept = [gene for gene in genes if not self._is_control(gene)]
        return combine(kept) if kept else str(self.control)

    def apply(self, values: pd.Series) -> pd.Series:
        """Every cell's canonical label; a missing value becomes the empty string."""
        codes, uniques = pd.factorize(values)
        texts = np.array([*(self.canonical(str(value)) for value in uniques), ""], dtype=object)
        return pd.Series(texts[codes], index=values.index, name=values.name, dtype=object)

    def _is_control(self, text: str) -> bool:
        return any(fnmatchcase(text, name) for name in self.controls)


def _check(name: str, expression: str | None) -> None:
    if expression is None:
        return
    try:
        compiled = re.compile(expression)
    except re.error as error:
        raise OptionError(
            f"labels: {name} {expression!r} is no regular expression: {error}."
        ) from None
    if compiled.groups < 1:
        raise OptionError(
            f"labels: {name} {expression!r} has no group: put what counts in brackets, as in '^(.+)_[0-9]+$'."
        )


def _first_group(expression: str | None, text: str) -> str:
    found = re.search(expression, text) if expression is not None else None
    return text if found is None else found[1].strip()
