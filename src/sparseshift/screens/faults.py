"""What is wrong with a screen, said so that a person can act on it, and all of it at once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from sparseshift.errors import ScreenError


@dataclass(frozen=True)
class Fault:
    """One thing wrong with a screen.

    Attributes:
        where: Column, matrix or option, as it is written in code: `obs['gene']`, `layers['counts']`.
        found: What is there, with the value and how often.
        example: Cells, genes, labels or columns to look at; may be empty.
        cure: What to do about it.
    """

    where: str
    found: str
    example: str
    cure: str

    def __str__(self) -> str:
        example = f" (seen: {self.example})" if self.example else ""
        return f"{self.where}: {self.found}{example}. {self.cure}"


def raise_faults(faults: Sequence[Fault]) -> None:
    """Raise one `ScreenError` that lists every fault, numbered; do nothing if there is none."""
    if not faults:
        return
    heading = f"{len(faults)} {'fault' if len(faults) == 1 else 'faults'} in the screen:"
    entries = [_entry(number, fault) for number, fault in enumerate(faults, start=1)]
    raise ScreenError("\n\n".join([heading, *entries]))


def _entry(number: int, fault: Fault) -> str:
    # Not wrapped: a terminal does that itself, and a line of code in a cure can still be copied.
    lines = [f"{number}. {fault.where}: {fault.found}"]
    if fault.example:
        lines.append(f"   seen: {fault.example}")
    return "\n".join([*lines, f"   cure: {fault.cure}"])


def near(name: str, names: Iterable[str], n: int = 3) -> list[str]:
    """Those of `names` that are spelt nearly like `name`, the nearest first, whatever their case."""
    by_folded: dict[str, str] = {}
    for other in names:
        by_folded.setdefault(other.casefold(), other)
    return [by_folded[key] for key in get_close_matches(name.casefold(), by_folded, n=n)]


def some(names: Iterable[object], n: int = 5) -> str:
    """The first names in quotes, then how many more there are."""
    listed = [repr(str(name)) for name in names]
    more = f" and {len(listed) - n} more" if len(listed) > n else ""
    return ", ".join(listed[:n]) + more
