"""Which convention a file follows: the column with what was done to each cell, and how it is read.

Judged from obs and var alone; no count is read. Sources of the conventions: scPerturb (Peidli et al. 2024),
GEARS (Roohani et al. 2023), CPA (Lotfollahi et al. 2023), Replogle et al. 2022, cell-load and State (Arc
Institute), CELLxGENE schema 7.1, sc-pert (theislab).
"""

from dataclasses import dataclass, replace
from math import log10

import pandas as pd
from pandas.api import types

from sparseshift.screens.conventions.batch_column import NAMES as BATCHES
from sparseshift.screens.conventions.batch_column import find_batch
from sparseshift.screens.conventions.gene_names import IDENTIFIER, GeneNames, find_symbols
from sparseshift.screens.conventions.label_reading import Reading, read_labels
from sparseshift.screens.cut.labels import LabelRule
from sparseshift.screens.faults import some

GENERAL = "no published convention"
OTHER_COLUMNS = (
    "gene", "perturbation", "target", "guide_target", "gene_target", "perturbed_gene", "condition",
    "perturbation_name", "genotype", "guide_id", "guide", "guides", "grna", "sgrna",
)  # fmt: skip
FLAGS = {
    "control": {"1", "1.0", "True", "true", "yes"},
    "is_control": {"1", "1.0", "True", "true", "yes"},
    "nperts": {"0", "0.0"},
    "genetic_perturbation_strategy": {"control"},
}
SURE = 0.95  # of a label's cells must be flagged for it to be the control
MOST_LABELS = 50_000
LEAST_SCORE = 2.0


@dataclass(frozen=True)
class Convention:
    """A way to lay out obs and var.

    Attributes:
        name: Whose it is.
        columns: Where labels are, the likeliest first; empty: in any column.
        marks: Other columns of obs, or of var, by which it is known.
        least: Marks that are needed.
    """

    name: str
    columns: tuple[str, ...]
    marks: tuple[str, ...]
    least: int = 1


CONVENTIONS = (
    Convention("CELLxGENE", ("genetic_perturbation_id",), ("genetic_perturbation_strategy",), 0),
    Convention("sc-pert", ("guide_identity", "guide_merged"), ("read_count", "coverage"), 0),
    Convention("cell-load/State", ("target_gene",), ("batch_var", "gem_group", "cell_type"), 0),
    Convention(
        "Replogle 2022", ("gene",), ("sgID_AB", "gene_transcript", "transcript", "z_gemgroup_UMI")
    ),
    Convention("GEARS", ("condition",), ("condition_name", "dose_val", "control")),
    Convention(
        "CPA",
        ("condition", "condition_ID", "perturbation", "drug"),
        ("cov_drug", "cov_drug_dose", "cov_drug_dose_name", "drug_dose_name", "dose_val", "dose", "split", "SMILES"),
    ),
    Convention(
        "scPerturb",
        ("perturbation",),
        ("nperts", "perturbation_type", "tissue_type", "cancer", "disease", "guide_id", "percent_ribo"),
    ),
    Convention(
        "CELLxGENE", (), ("feature_name", "donor_id", "assay", "suspension_type", "is_primary_data"), 3
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Proposal:
    """One way to read a file.

    Attributes:
        convention: Whose way it is.
        column: obs column with the labels.
        reading: What its labels say.
        batch: obs column of the batch.
        symbol: var column of the gene symbols; None: the names of var.
        score: The larger the likelier.
        reasons: In words.
    """

    convention: str
    column: str
    reading: Reading
    batch: str | None
    symbol: str | None
    score: float
    reasons: tuple[str, ...]

    @property
    def rule(self) -> LabelRule:
        """Makes its labels canonical."""
        return self.reading.rule

    @property
    def control(self) -> str | None:
        """What the control is called by the rule."""
        return self.rule.control

    @property
    def drop(self) -> dict[str, tuple[str, ...]]:
        """`Cut.drop`: cells of which nothing is known."""
        return {self.column: self.reading.left_out} if self.reading.left_out else {}

    @property
    def translates(self) -> bool:
        """Whether the file has to be cut by the rule before it is a screen."""
        return self.reading.translates


def recognise(obs: pd.DataFrame, var: pd.DataFrame) -> list[Proposal]:
    """Ways to read a file, the best first; none where no column looks like labels.

    Args:
        obs: Annotation of cells.
        var: Annotation of genes.
    """
    names = find_symbols(var)
    found = []
    for column in _candidates(obs):
        reading = read_labels(obs[column], names.symbols, _flagged(obs, column))
        if reading is None or len(reading.labels) > max(2, len(obs) // 2):
            continue
        convention, marks = _convention(column, reading, obs, var)
        score = _score(column, convention, reading, names)
        if score >= LEAST_SCORE:
            found.append((score, column, convention, marks, reading))
    found.sort(key=lambda one: -one[0])
    proposals = [_proposal(*one, obs=obs, names=names) for one in found]
    return [_beside_others(one, proposals) for one in proposals]


def _candidates(obs: pd.DataFrame) -> list[str]:
    """Columns of words that repeat."""
    columns = []
    for column in obs.columns:
        values = obs[column]
        kind = values.cat.categories.dtype if values.dtype.name == "category" else values.dtype
        known = any(column in convention.columns for convention in CONVENTIONS)
        if types.is_numeric_dtype(kind) or types.is_bool_dtype(kind):
            continue
        if str(column).casefold() in BATCHES and not known:
            continue
        texts = pd.Index(values.dropna().unique()).astype(str)
        if 2 <= len(texts) <= MOST_LABELS and not texts.str.fullmatch(r"[0-9.]*").all():
            columns.append(str(column))
    return columns


def _flagged(obs: pd.DataFrame, column: str) -> list[str]:
    """Labels whose cells another column says are the control."""
    for flag, values in FLAGS.items():
        if flag in obs and flag != column:
            is_control = obs[flag].astype(str).isin(values)
            share = is_control.astype(float).groupby(obs[column].astype(str)).mean()
            labels = [str(label) for label in share.index[share >= SURE]]
            if 0 < len(labels) < len(share):
                return labels
    return []


def _convention(
    column: str, reading: Reading, obs: pd.DataFrame, var: pd.DataFrame
) -> tuple[str, list[str]]:
    """The convention with the most marks, and the marks."""
    there = {*map(str, obs.columns), *map(str, var.columns)} - {column}
    best: tuple[float, str, list[str]] = (0.0, GENERAL, [])
    for convention in CONVENTIONS:
        if convention.columns and column not in convention.columns:
            continue
        marks = [mark for mark in convention.marks if mark in there]
        weight = len(marks) + 0.5 * bool(convention.columns)
        if convention.name == "GEARS" and reading.rule.controls == ("ctrl",):
            marks, weight = [*marks, "ctrl"], weight + 3
        if len(marks) >= convention.least and weight > best[0]:
            best = (weight, convention.name, marks)
    return best[1], best[2]


def _score(column: str, convention: str, reading: Reading, names: GeneNames) -> float:
    """Points for a control, for genes that are measured, for a usual name, for many perturbations."""
    genes = reading.genes
    if not genes:
        return 0.0
    control = 0.0 if reading.rule.control is None else 3.0 if reading.is_sure else 1.5
    measured = len(genes & names.symbols) / len(genes)
    identifiers = sum(IDENTIFIER.fullmatch(gene) is not None for gene in genes) / len(genes)
    by_convention = convention != GENERAL and any(column in c.columns for c in CONVENTIONS)
    name = 2.0 if by_convention else 1.5 if column.casefold() in OTHER_COLUMNS else 0.0
    work = 1.0 * (reading.guides is not None) + 0.5 * (reading.rule.pattern is not None)
    many = min(1.0, log10(len(genes)) / 2)
    return control + 2.0 * measured + name + many - work - 2.0 * identifiers


def _proposal(
    score: float,
    column: str,
    convention: str,
    marks: list[str],
    reading: Reading,
    *,
    obs: pd.DataFrame,
    names: GeneNames,
) -> Proposal:
    known = [f"known by {', '.join(marks)} beside it"] if marks else []
    batch, why_batch = find_batch(obs, obs[column])
    n_measured = len(reading.genes & names.symbols)
    reasons = [
        *known,
        *reading.reasons,
        f"{n_measured} of its {len(reading.genes)} perturbed genes are among the {len(names.symbols):,} symbols",
        *_left_out(reading),
        why_batch,
        names.reason,
    ]
    return Proposal(convention, column, reading, batch, names.column, score, tuple(reasons))


def _left_out(reading: Reading) -> list[str]:
    said = [f"cells with {some(reading.left_out, 4)}"] if reading.left_out else []
    said += [f"{reading.n_missing} cells without a label"] if reading.n_missing else []
    return [f"{' and '.join(said)} are left out"] if said else []


def _beside_others(one: Proposal, proposals: list[Proposal]) -> Proposal:
    """With a word on columns that say the same by guides."""
    if one.reading.guides is not None:
        return one
    guides = [p for p in proposals if p.reading.guides is not None and _same_genes(one, p)]
    said = [
        f"obs[{p.column!r}] names {p.reading.guides.n_guides} guides of these genes; it is not needed"
        for p in guides
        if p.reading.guides is not None
    ]
    return replace(one, reasons=(*one.reasons, *said))


def _same_genes(one: Proposal, other: Proposal) -> bool:
    return len(one.reading.genes & other.reading.genes) >= 0.5 * len(other.reading.genes)
