"""Which labels are the control, also where its guides are numbered, and the fewest patterns that say so."""

import re
from collections.abc import Collection
from fnmatch import fnmatchcase

from sparseshift.screens.check_labels import looks_like_control

_CORE = (
    "non-?target(?:ing|ed)?|safe-?target(?:ing)?|neg(?:ative)?-?(?:control|ctrl|ctl)s?|scrambled?"
    "|un(?:perturbed|treated)|empty-?vector|wild-?type|(?:control|ctrl|ctl)s?|negative|vehicle|mock"
    "|dmso|safe|neg|ntc|nt|wt|con"
)
_BESIDE = r"(?:sg|g|guide|sgrna|grna|cells?)?"
# The whole of a name. A number straight after WT or CON would make a gene of it (WT1).
_WHOLE = re.compile(
    rf"{_BESIDE}-?(?:(?:{_CORE})(?:(?<!wt)(?<!con)\d+)?-?)+{_BESIDE}-?{_BESIDE}\d*(?:-\d+)*"
)
_UNMISTAKABLE = re.compile("nontarget|safetarget|scrambl|negctrl|negcontrol|negativecontrol")
# Targeted, but nothing is expected to happen: controls where nothing else is called so.
_HARMLESS = re.compile(
    "(?:sg)?(?:aavs1|rosa26|lacz|e?gfp|bfp|mcherry|luciferase|intergenic)(?:g?\\d)*"
)


def is_control(name: str, *, alone: bool = True) -> bool:
    """Whether unperturbed cells, or their guides, are often called so: NT, non-targeting_00012, NTg3.

    Args:
        name: A label, or a part of one.
        alone: Whether nothing but the control is in it; else it may be inside, as in `A+ctrl`,
            and only a whole name counts.
    """
    dashed = re.sub("[^a-z0-9]+", "-", name.casefold()).strip("-")
    if re.fullmatch(r"(?:wt|con)\d+", dashed):
        return False
    letters = dashed.replace("-", "")
    return _WHOLE.fullmatch(dashed) is not None or (
        alone and _UNMISTAKABLE.search(letters) is not None
    )


def find_controls(names: Collection[str]) -> tuple[set[str], bool]:
    """The controls among names, and whether they are so only because no other is there.

    Args:
        names: Labels or parts of labels, no combinations.
    """
    for judge, is_sure in ((is_control, True), (looks_like_control, True), (_is_harmless, False)):
        found = {name for name in names if judge(name)}
        if found and found != set(names):
            return found, not is_sure
    return set(), False


def _is_harmless(name: str) -> bool:
    return _HARMLESS.fullmatch(re.sub("[^a-z0-9]", "", name.casefold())) is not None


def patterns_for(controls: Collection[str], others: Collection[str]) -> tuple[str, ...]:
    """`LabelRule.controls`: those names, numbered ones as `name*` where that matches nothing else.

    Args:
        controls: Names of the control.
        others: Names that no pattern may match.
    """
    numbered: dict[str, set[str]] = {}
    for name in controls:
        numbered.setdefault(re.sub(r"\d+$", "", name), set()).add(name)
    found: set[str] = set()
    for stem, names in numbered.items():
        pattern = f"{_literal(stem)}*"
        free = not any(fnmatchcase(other, pattern) for other in others)
        found |= {pattern} if stem and len(names) > 1 and free else set(map(_literal, names))
    wide = [pattern for pattern in found if pattern.endswith("*")]
    covered = {
        name
        for name in found
        for pattern in wide
        if name != pattern and fnmatchcase(name, pattern)
    }
    return tuple(sorted(found - covered))


def _literal(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)
