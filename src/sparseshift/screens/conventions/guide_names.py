"""From the names of guides to their genes: an expression that cuts what names the guide off.

Gene symbols have dashes, dots, digits and letters at their end too (HLA-A, NKX2-1, RP5-862P8.2, IFNGR1). So
nothing is cut unless nearly all names of a screen are of such a form, none of them is itself a
measured gene, and what is left makes sense: several guides share a gene, or it is measured.
"""

import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

MOST = 0.8  # of the names must be guides
SENSE = 0.5  # of the genes must be shared by guides, or be measured
FEW_GENES = 5  # with fewer, forms that genes have too need measured genes
WORD = "(?:sg|g|sgRNA|gRNA|guide)"


@dataclass(frozen=True)
class Form:
    """One way in which a guide's name goes on after its gene.

    Attributes:
        words: What it is, for a person.
        suffix: Regular expression.
        proof: What shows that it is one: nothing is needed where no gene symbol ends so; else most
            genes must be measured, or, where "pairs" will do, have several guides.
    """

    words: str
    suffix: str
    proof: Literal["none", "pairs", "measured"] = "none"


FORMS = (
    Form("strand and position", r"_[+-]_[0-9]+(?:\.[0-9]+)*(?:-[A-Za-z0-9]+)*"),
    Form("the guide's sequence", r"[_-][ACGT]{17,25}"),
    Form("a number after _", rf"_{WORD}?[_-]?[0-9]+"),
    Form("a number after g", rf"[.-]?{WORD}[_-]?[0-9]+", "pairs"),
    Form("a number after -", r"-[0-9]+", "pairs"),
    Form("a number after .", r"\.[0-9]+", "pairs"),
    Form("a letter after - or _", r"[_-][A-D]", "measured"),  # not HLA-A, HLA-B
    Form("what was done", r"[_-](?:KO|KD|OE|ko|kd|CRISPRi|CRISPRa|sgRNA|guide)"),
)


@dataclass(frozen=True)
class Guides:
    """How guides are named.

    Attributes:
        expression: `LabelRule.part`: its first group is the gene.
        words: What was cut off, for a person.
        n_guides: Names that it changes.
        n_genes: What becomes of them.
    """

    expression: str
    words: str
    n_guides: int
    n_genes: int


def find_guides(names: Collection[str], symbols: Collection[str] = ()) -> Guides | None:
    """The expression that makes genes of guides, or None where names are genes already.

    Args:
        names: Of the perturbations of a screen, controls and combinations taken apart; each once.
        symbols: Of the measured genes.

    Example:
        >>> find_guides(["JAK2g1", "JAK2g2", "STAT1g1", "STAT1g2"], {"JAK2", "STAT1"}).expression
        '^(.+?)(?:[.-]?(?:sg|g|sgRNA|gRNA|guide)[_-]?[0-9]+)$'
    """
    names, symbols = sorted(set(names)), set(symbols)
    if not names or sum(name in symbols for name in names) > 0.1 * len(names):
        return None
    for prefix in _prefixes(names):
        bare = [name.removeprefix(prefix) for name in names]
        forms = [form for form in FORMS if _is_plausible(form, bare, symbols)]
        found = _guides(prefix, forms, names, symbols)
        if found is not None:
            return found
    return None


def _prefixes(names: list[str]) -> list[str]:
    """What nearly all names begin with, up to the last _ or a small `sg`; then nothing."""
    found = []
    common = _common_start(names)
    if "_" in common and len(names) >= 4:
        found.append(common[: common.rindex("_") + 1])
    if all(re.match("sg[A-Z0-9]", name) for name in names):
        found.append("sg")
    return [*found, ""]


def _common_start(names: list[str]) -> str:
    first, last = min(names), max(names)
    same = [a == b for a, b in zip(first, last, strict=False)]
    return first[: same.index(False) if False in same else len(same)]


def _is_plausible(form: Form, names: list[str], symbols: set[str]) -> bool:
    expression = re.compile(f"^(.+?)(?:{form.suffix})$")
    found = {name: match[1] for name in names if (match := expression.search(name))}
    if not found or any(name in symbols for name in found):
        return False
    genes = Counter(found.values())
    if form.proof == "none" or sum(gene in symbols for gene in genes) >= SENSE * len(genes):
        return True
    in_pairs = sum(n > 1 for n in genes.values())
    return form.proof == "pairs" and len(genes) >= FEW_GENES and in_pairs >= MOST * len(genes)


def _guides(prefix: str, forms: list[Form], names: list[str], symbols: set[str]) -> Guides | None:
    if not forms and not prefix:
        return None
    suffix = f"(?:{'|'.join(form.suffix for form in forms)})" if forms else ""
    start = f"^{re.escape(prefix)}" if prefix else "^"
    expression = rf"{start}(.+?){suffix}$"
    cut = {name: match[1] for name in names if (match := re.search(expression, name))}
    genes = Counter(cut.values())
    if len(cut) < MOST * len(names) or not all(map(_may_be_a_gene, genes)):
        return None
    makes_sense = sum(n > 1 or gene in symbols for gene, n in genes.items())
    if makes_sense < SENSE * len(genes):
        return None
    words = [f"{prefix!r} before it"] if prefix else []
    words += [form.words for form in forms]
    return Guides(expression, ", ".join(words), len(cut), len(genes))


def _may_be_a_gene(name: str) -> bool:
    return re.search("[A-Za-z]", name) is not None
