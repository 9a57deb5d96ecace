"""Nodes of data engineering: each calls one function of the library."""

from typing import Any

import pandas as pd

from sparseshift.pipelines.parameters import ScreenParameters
from sparseshift.pipelines.simulation_parameters import SimulationParameters


def simulate_screen(parameters: ScreenParameters) -> Any:
    """A simulated screen as AnnData."""
    from sparseshift.api import simulate

    chosen = parameters.simulate or SimulationParameters()
    return simulate(chosen.name, seed=chosen.seed, **chosen.settings)


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
    raw: Any, _facts: dict[str, Any], parameters: ScreenParameters
) -> tuple[Any, pd.DataFrame]:
    """The screen that is left, and what each filter dropped. Runs after the check."""
    from sparseshift.screens.columns import Columns
    from sparseshift.screens.filters import Filters, filter_screen

    return filter_screen(
        raw,
        Columns(**parameters.columns.model_dump()),
        Filters(**parameters.filters.model_dump()),
    )


def split_cells(screen: Any, parameters: ScreenParameters, split: str) -> dict[str, Any]:
    """Who is trained on, adapted on and scored."""
    from sparseshift.data.splits import make_split
    from sparseshift.screens.cells import read_perturbations
    from sparseshift.screens.columns import Columns

    columns = Columns(**parameters.columns.model_dump())
    return make_split(
        list(screen.obs_names),
        read_perturbations(screen, columns),
        columns.control,
        name=split,
        **parameters.splits[split].model_dump(),
    ).to_json()


def choose_genes(screen: Any, split: dict[str, Any], parameters: ScreenParameters) -> pd.DataFrame:
    """Genes that models see, chosen on the training cells of the split."""
    from sparseshift.data.splits import Split
    from sparseshift.screens.cells import read_perturbations
    from sparseshift.screens.columns import Columns
    from sparseshift.screens.genes import choose_genes as choose

    columns = Columns(**parameters.columns.model_dump())
    training = Split.from_json(split).is_training(read_perturbations(screen, columns))
    return choose(screen, columns, training, **parameters.genes.model_dump())
