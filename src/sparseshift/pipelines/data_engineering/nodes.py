"""Nodes of data engineering: each calls one function of the library."""

import logging
from typing import Any

import pandas as pd

from sparseshift.pipelines.fitting import state_folder
from sparseshift.pipelines.parameters import (
    CheckpointParameters,
    HeldOutParameters,
    ScreenParameters,
    SplitParameters,
)
from sparseshift.pipelines.simulation_parameters import SimulationParameters

logger = logging.getLogger(__name__)


def simulate_screen(parameters: ScreenParameters) -> Any:
    """A simulated screen as AnnData."""
    from sparseshift.api import simulate

    chosen = parameters.simulate or SimulationParameters()
    return simulate(chosen.name, seed=chosen.seed, **chosen.settings)


def cut_source(
    source: Any,
    parameters: ScreenParameters,
    checkpoints: CheckpointParameters,
    perturbations: pd.DataFrame | None = None,
    genes: pd.DataFrame | None = None,
) -> tuple[Any, pd.DataFrame]:
    """The cells and genes of a file that are wanted, and what each step left.

    Stopped, it goes on where it was.
    """
    from sparseshift.screens.cut import cut_screen

    return cut_screen(
        source,
        cut_of(parameters, perturbations, genes),
        perturbation=parameters.columns.perturbation,
        folder=state_folder(checkpoints),
    )


def cut_of(
    parameters: ScreenParameters, perturbations: pd.DataFrame | None, genes: pd.DataFrame | None
) -> Any:
    """The `screens.cut.Cut` that the parameters and tables say; the screen must have a cut."""
    from sparseshift.screens.cut import Cut, LabelRule

    columns, cut = parameters.columns, parameters.cut
    if cut is None:
        raise ValueError("a screen without cut has no source")
    rule = cut.labels
    return Cut(
        label_column=rule.column,
        labels=LabelRule(
            tuple(rule.controls), columns.control, rule.separator, rule.pattern, rule.part
        ),
        drop={column: tuple(values) for column, values in cut.drop.items()},
        perturbations=_listed(perturbations),
        n_control_cells=cut.n_control_cells,
        seed=cut.seed,
        genes=_listed(genes),
        symbol=columns.symbol,
        layer=columns.layer,
    )


def _listed(table: pd.DataFrame | None) -> tuple[str, ...] | None:
    """The column `gene` of a table, each once."""
    return None if table is None else tuple(table["gene"].astype(str).unique())


def check_raw(raw: Any, parameters: ScreenParameters) -> dict[str, Any]:
    """Refuses a screen with faults, all of them at once; says what it found otherwise."""
    from sparseshift.screens.check import check_screen
    from sparseshift.screens.columns import Columns
    from sparseshift.screens.summary import summarise

    columns = Columns(**parameters.columns.model_dump())
    held_out = {
        name
        for s in parameters.splits.values()
        if isinstance(s.held_out, list)
        for name in s.held_out
    }
    drops_empty = parameters.filters.min_counts_per_cell > 0
    check_screen(
        raw,
        columns,
        held_out=held_out,
        expected=parameters.shared_mechanism,
        empty_cells_allowed=drops_empty,
    )
    return summarise(raw, columns)


def filter_raw(
    raw: Any, facts: dict[str, Any], parameters: ScreenParameters, cut: pd.DataFrame | None = None
) -> tuple[Any, pd.DataFrame]:
    """The screen that is left, and what each step of cut and filters left of it.

    Takes the facts so that it runs after the check.
    """
    del facts
    from sparseshift.screens.columns import Columns
    from sparseshift.screens.filters import Filters, filter_screen

    screen, steps = filter_screen(
        raw,
        Columns(**parameters.columns.model_dump()),
        Filters(**parameters.filters.model_dump()),
    )
    return screen, steps if cut is None else pd.concat([cut, steps], ignore_index=True)


def assess_quality(
    screen: Any, parameters: ScreenParameters
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Cells and counts of each label, what became of its target, its cells in each batch."""
    from sparseshift.screens.columns import Columns
    from sparseshift.screens.quality.batch_balance import batch_balance
    from sparseshift.screens.quality.batch_warnings import batch_warnings
    from sparseshift.screens.quality.perturbation_quality import perturbation_quality
    from sparseshift.screens.quality.target_change import target_change

    columns = Columns(**parameters.columns.model_dump())
    balance = batch_balance(screen, columns)
    for warning in batch_warnings(balance):
        logger.warning("%s", warning)
    return perturbation_quality(screen, columns), target_change(screen, columns), balance


def split_cells(
    screen: Any, parameters: ScreenParameters, split: str, lists: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Who is trained on, adapted on and scored."""
    from sparseshift.data.splits import make_split
    from sparseshift.data.unseen_batches import leave_out_unseen_batches
    from sparseshift.screens.cells import read_labels, read_perturbations
    from sparseshift.screens.columns import Columns

    columns = Columns(**parameters.columns.model_dump())
    chosen = parameters.splits[split]
    cells, labels = list(screen.obs_names), read_perturbations(screen, columns)
    drawn = make_split(
        cells,
        labels,
        columns.control,
        name=split,
        held_out=_held_out(screen, columns, chosen, lists),
        seed=chosen.seed,
        support_fraction=chosen.support_fraction,
        cells_fraction=chosen.cells_fraction,
    )
    if columns.batch is not None:
        drawn = leave_out_unseen_batches(drawn, cells, labels, read_labels(screen, columns.batch))
    return drawn.to_json()


def _held_out(
    screen: Any, columns: Any, split: SplitParameters, lists: dict[str, Any] | None
) -> int | list[str]:
    from sparseshift.data.named_lists import read_named_list
    from sparseshift.screens.held_out import HeldOutRule, choose_held_out

    rule = split.held_out
    if not isinstance(rule, HeldOutParameters):
        return rule
    listed = None if rule.listed is None else tuple(read_named_list(lists or {}, rule.listed))
    chosen = HeldOutRule(**{**rule.model_dump(), "listed": listed})
    return choose_held_out(screen, columns, chosen, split.seed)


def choose_genes(screen: Any, split: dict[str, Any], parameters: ScreenParameters) -> pd.DataFrame:
    """Genes that models see, chosen on the training cells of the split."""
    from sparseshift.data.splits import Split
    from sparseshift.screens.cells import read_perturbations
    from sparseshift.screens.columns import Columns
    from sparseshift.screens.genes import choose_genes as choose

    columns = Columns(**parameters.columns.model_dump())
    training = Split.from_json(split).is_training(
        screen.obs_names, read_perturbations(screen, columns)
    )
    chosen = choose(screen, columns, training, **parameters.genes.model_dump())
    return chosen.rename_axis("gene")  # var_names may have any name, or none
