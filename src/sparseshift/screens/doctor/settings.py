"""What a screen's configuration says of its file: declared by a person, or proposed."""

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from sparseshift.screens.columns import Columns
from sparseshift.screens.conventions.recognise import Proposal
from sparseshift.screens.cut.choice import Cut, choose
from sparseshift.screens.doctor.contents import Contents
from sparseshift.screens.filters import Filters

NEW_NAMES = ("perturbation", "perturbed_gene", "sparseshift_perturbation")


@dataclass(frozen=True)
class Settings:
    """How a file is used.

    Attributes:
        columns: Of the screen, after the cut if there is one.
        cut: What is taken from the file; None: all of it, as it is.
        filters: What is dropped then.
        n_top: Variable genes that models see; None: all.
        held_out: Perturbations that are named as held out.
        expected: Perturbations that shared_mechanism names.
    """

    columns: Columns
    cut: Cut | None = None
    filters: Filters = field(default_factory=Filters)
    n_top: int | None = 2000
    held_out: tuple[str, ...] = ()
    expected: tuple[str, ...] = ()


@dataclass(frozen=True)
class Annotation:
    """The cells and genes that a screen has before any filter.

    Attributes:
        obs: Of these cells, with the labels that the screen uses.
        var: Of these genes.
        cells: Their positions in the file.
        genes: Their positions in the file.
        steps: What each step of the cut left; None where there is none.
    """

    obs: pd.DataFrame
    var: pd.DataFrame
    cells: np.ndarray
    genes: np.ndarray
    steps: pd.DataFrame | None


def annotation(contents: Contents, settings: Settings) -> Annotation:
    """What a file has by these settings; its counts are not read.

    Raises:
        ScreenError: The cut names columns that are not there, or leaves nothing.
    """
    obs, var = contents.obs, contents.var
    if settings.cut is None:
        return Annotation(obs, var, np.arange(len(obs)), np.arange(len(var)), None)
    choice = choose(obs, var, settings.cut)
    labelled = obs.iloc[choice.cells].assign(**{settings.columns.perturbation: choice.labels})
    return Annotation(labelled, var.iloc[choice.genes], choice.cells, choice.genes, choice.steps)


def propose(contents: Contents, proposal: Proposal, *, too_large: bool = False) -> Settings:
    """Settings with which a file runs as a proposal reads it.

    Args:
        contents: Of the file.
        proposal: How it is read.
        too_large: Whether the file should be cut even if its labels need no translation.
    """
    counts = contents.counts
    columns = Columns(
        perturbation=proposal.column,
        control=proposal.control,
        batch=proposal.batch,
        layer=None if counts is None else counts.layer,
        symbol=proposal.symbol,
    )
    if not (proposal.translates or too_large):
        return Settings(columns)
    if proposal.reading.guides is not None:  # guides stay readable beside their genes
        free = [name for name in NEW_NAMES if name not in contents.obs]
        columns = replace(columns, perturbation=free[0] if free else proposal.column)
    cut = Cut(
        label_column=proposal.column,
        labels=proposal.rule,
        drop=proposal.drop,
        symbol=columns.symbol,
        layer=columns.layer,
    )
    return Settings(columns, cut)
