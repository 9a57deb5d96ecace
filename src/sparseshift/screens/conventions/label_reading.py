"""How a column writes its labels: separator, control, guides; found in the labels alone."""

import re
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import pandas as pd

from sparseshift.screens.columns import canonical, targets
from sparseshift.screens.conventions.control_names import find_controls, is_control, patterns_for
from sparseshift.screens.conventions.guide_names import Guides, find_guides
from sparseshift.screens.cut.labels import LabelRule
from sparseshift.screens.faults import some

SEPARATORS = ("||", "+", "|", ";", "&", ",", "_")
UNASSIGNED = {
    "", "nan", "<na>", "na", "n/a", "none", "null", "*", "unassigned", "unknown", "ambiguous",
    "undetermined", "multiplet", "multiple", "doublet", "no guide", "no_guide", "noguide",
}  # fmt: skip
TWICE = re.compile(r"^(.+?)__\1(?:_[0-9]+)?$")  # CBL_CNN1__CBL_CNN1
FIRST_OF_TWO = "^(.+?)(?:_[0-9]+)?__"
WITHOUT_NUMBER = "^(.+?)_[0-9]+$"
STRAND = re.compile(r"_[+-]_[0-9]")
LIKE_A_GENE = re.compile(r"[A-Za-z][A-Za-z0-9.-]+")
LIKE_A_GUIDE = re.compile(
    r"(?:sg|g|guide|sgrna|grna|rep|ko|kd|oe|crispr[ai])[0-9]*", re.IGNORECASE
)
MOST, HALF = 0.8, 0.5
OFTEN = 0.3  # of the combinations: a part that is no gene known here is a word, not a partner


@dataclass(frozen=True)
class Reading:
    """What a column of labels says, if it is read by a rule.

    Attributes:
        rule: To canonical labels.
        labels: Text of each label, as in the file, to its canonical form; those left out apart.
        left_out: Texts that say that nothing is known of a cell.
        n_missing: Cells without any label.
        guides: How guides are named; None where labels are genes.
        is_sure: Whether the control is called as controls are; False also where there is none.
        reasons: In words.
    """

    rule: LabelRule
    labels: dict[str, str]
    left_out: tuple[str, ...]
    n_missing: int
    guides: Guides | None
    is_sure: bool
    reasons: tuple[str, ...]

    @property
    def perturbations(self) -> set[str]:
        """Canonical labels without the control."""
        return set(self.labels.values()) - {self.rule.control or "", ""}

    @property
    def genes(self) -> set[str]:
        """The parts of all labels, the control left out."""
        return targets(self.perturbations, self.rule.control)

    @property
    def translates(self) -> bool:
        """Whether something has to be done before a screen can use the labels."""
        if self.left_out or self.n_missing:
            return True
        as_they_are = canonical(pd.Series(list(self.labels)), self.rule.control)
        return as_they_are.tolist() != list(self.labels.values())


def read_labels(
    values: pd.Series, symbols: Collection[str] = (), controls: Collection[str] = ()
) -> Reading | None:
    """The simplest rule that makes sense of a column; None where it has fewer than two labels.

    Args:
        values: Column of obs.
        symbols: Of the measured genes.
        controls: Labels that another column says are the control.
    """
    codes, uniques = pd.factorize(values)
    texts = [str(value) for value in uniques]
    left_out = tuple(text for text in texts if text.strip().casefold() in UNASSIGNED)
    texts = [text for text in texts if text not in left_out]
    if len(texts) < 2:
        return None
    pattern = FIRST_OF_TWO if _share(TWICE.match(text.strip()) for text in texts) >= MOST else None
    whole = {_cut(pattern, text) for text in texts}
    named = {_cut(pattern, str(name)) for name in controls} & whole
    separator, joined = _separator(whole, set(symbols) | named)
    if (
        separator == "_"
        and pattern is None
        and any(re.search("_[0-9]+$", text) for text in joined)
    ):
        pattern = WITHOUT_NUMBER
        whole = {_cut(pattern, text) for text in whole}
    parts = _parts(whole, separator)
    found, only_harmless = find_controls(parts)
    found |= named
    guides = find_guides(parts - found, symbols)
    rule = LabelRule(
        patterns_for(found, parts - found),
        _name_of(found),
        separator,
        pattern,
        guides.expression if guides is not None else None,
    )
    reasons = [
        *_why_separator(separator, joined),
        *_why_pattern(pattern, texts),
        *_why_control(rule, found, only_harmless=only_harmless, flagged=bool(named)),
        *_why_guides(guides),
    ]
    return Reading(
        rule,
        {text: rule.canonical(text) for text in texts},
        left_out,
        int((codes < 0).sum()),
        guides,
        is_sure=bool(found) and not only_harmless,
        reasons=tuple(reasons),
    )


def _share(found: Iterable[object]) -> float:
    seen = [bool(one) for one in found]
    return sum(seen) / max(1, len(seen))


def _cut(pattern: str | None, text: str) -> str:
    match = re.search(pattern, text.strip()) if pattern is not None else None
    return text.strip() if match is None else match[1].strip()


def _separator(texts: set[str], known: set[str]) -> tuple[str | None, list[str]]:
    """What stands between the parts of a combination, and the combinations.

    `+` where there are none, as everywhere in the project; None where a `+` in the labels joins nothing.
    """
    for separator in SEPARATORS:
        joined = sorted(
            text for text in texts if separator in text and not is_control(text, alone=False)
        )
        if joined and _joins(separator, joined, texts, known):
            return separator, joined
    return (None if any("+" in text for text in texts) else "+"), []


def _joins(separator: str, joined: list[str], texts: set[str], known: set[str]) -> bool:
    split = [[part.strip() for part in text.split(separator)] for text in joined]
    if separator == "+" and _share(STRAND.search(text) for text in joined) > HALF:
        return False
    if separator not in {",", "_"}:
        return (
            _share(all(re.match("[A-Za-z0-9]", part) for part in parts) for parts in split) >= MOST
        )
    if separator == "_":
        split = [parts[:-1] if parts[-1].isdigit() else parts for parts in split]
        if _share(len(p) > 1 and all(map(_may_be_a_gene, p)) for p in split) < MOST:
            return False
    known = known | (texts - set(joined))
    partners = Counter(part for parts in split for part in set(parts))
    strangers = {part for part in partners if part not in known and not is_control(part)}
    if len(joined) > 3 and any(partners[part] > OFTEN * len(joined) for part in strangers):
        return False  # a word such as `high`
    familiar = {part for part in partners if part not in strangers or partners[part] > 1}
    return _share(familiar & set(parts) for parts in split) >= HALF


def _may_be_a_gene(part: str) -> bool:
    return LIKE_A_GENE.fullmatch(part) is not None and LIKE_A_GUIDE.fullmatch(part) is None


def _parts(texts: set[str], separator: str | None) -> set[str]:
    """Of all labels; a control with the separator inside is one part."""
    if separator is None:
        return set(texts)
    found: set[str] = set()
    for text in texts:
        parts = {part.strip() for part in text.split(separator)} - {""}
        whole = is_control(text, alone=False) and not all(map(is_control, parts))
        found |= {text} if whole else parts
    return found


def _name_of(controls: set[str]) -> str | None:
    """What the control is called from here on: its own name if it has one."""
    return next(iter(controls)) if len(controls) == 1 else "control" if controls else None


def _why_separator(separator: str | None, joined: list[str]) -> list[str]:
    if separator is None:
        return ["a + in its labels is a strand and joins nothing"]
    if not joined:
        return []
    return [f"{separator!r} joins the parts of {len(joined)} of its labels ({some(joined, 2)})"]


def _why_pattern(pattern: str | None, texts: list[str]) -> list[str]:
    if pattern == FIRST_OF_TWO:
        return [f"its labels say everything twice, as {texts[0]!r}: the first half is taken"]
    return ["a number at the end of a label is left out"] if pattern == WITHOUT_NUMBER else []


def _why_control(
    rule: LabelRule, found: set[str], *, only_harmless: bool, flagged: bool
) -> list[str]:
    if not found:
        return ["none of its labels looks like a control: name it if there is one"]
    names = f"{some(rule.controls, 4)} {'is' if len(rule.controls) == 1 else 'are'} the control"
    if only_harmless:
        return [f"{names}, for want of another: no label is called control, non-targeting, ..."]
    if flagged:
        return [f"{names}, as another column says"]
    merged = len(found) > 1
    return [f"{names}: {len(found)} names of it become {rule.control!r}" if merged else names]


def _why_guides(guides: Guides | None) -> list[str]:
    if guides is None:
        return []
    return [
        f"it names guides, {guides.n_guides} of {guides.n_genes} genes, and what is not the gene is "
        f"cut off: {guides.words}"
    ]
