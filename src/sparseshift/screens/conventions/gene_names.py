"""Where a file keeps gene symbols: in the names of var, or in a column beside identifiers."""

import re
from dataclasses import dataclass

import pandas as pd
from pandas.api import types

IDENTIFIER = re.compile(r"(?:ENS[A-Z]*[GT]\d{6,}(?:\.\d+)?|\d+)(?:[-_]\d+)?")  # Ensembl, Entrez
SYMBOL = re.compile(r"[A-Za-z][A-Za-z0-9._/@-]*")
SYMBOL_COLUMNS = (
    "gene_name",
    "gene_names",
    "gene_symbol",
    "gene_symbols",
    "feature_name",
    "symbol",
    "symbols",
    "gene_short_name",
    "hgnc_symbol",
    "gene",
)


@dataclass(frozen=True)
class GeneNames:
    """How the genes of a file are named.

    Attributes:
        column: var column with the symbols; None: they are the names of var, or nowhere.
        symbols: All of them; empty where a file has none.
        reason: Why, in words.
    """

    column: str | None
    symbols: frozenset[str]
    reason: str


def find_symbols(var: pd.DataFrame) -> GeneNames:
    """Looks at the names of var first, then at columns with a usual name, then at any column."""
    names = pd.Index(var.index).astype(str)
    if not _are_identifiers(names):
        return GeneNames(None, frozenset(names), "the names of var are gene symbols")
    usual = [str(c) for name in SYMBOL_COLUMNS for c in var.columns if str(c).casefold() == name]
    others = [str(column) for column in var.columns if str(column) not in usual]
    example = f"the names of var are identifiers ({names[0]})"
    for column in usual:
        if _are_symbols(var[column], least_distinct=0.5):
            reason = f"{example}, and var[{column!r}] has the symbols"
            return GeneNames(column, frozenset(var[column].astype(str)), reason)
    for column in others:
        if _are_symbols(var[column], least_distinct=0.95):
            reason = f"{example}, and var[{column!r}] looks like symbols"
            return GeneNames(column, frozenset(var[column].astype(str)), reason)
    return GeneNames(None, frozenset(), f"{example}, and no column of var has symbols")


def _are_identifiers(names: pd.Index) -> bool:
    return len(names) > 0 and _share(names, IDENTIFIER) > 0.5


def _are_symbols(values: pd.Series, least_distinct: float) -> bool:
    if types.is_bool_dtype(values) or types.is_numeric_dtype(values):
        return False
    texts = pd.Index(values.dropna().astype(str))
    if len(texts) < len(values) / 2 or texts.nunique() < least_distinct * len(texts):
        return False
    return _share(texts, IDENTIFIER) < 0.5 and _share(texts, SYMBOL) > 0.8


def _share(names: pd.Index, form: re.Pattern[str]) -> float:
    return sum(form.fullmatch(name) is not None for name in names) / len(names)
