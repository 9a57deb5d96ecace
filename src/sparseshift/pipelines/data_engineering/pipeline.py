"""(source -> cut, raw;) raw -> facts, screen, filters, quality; a split and its genes for each split."""

from kedro.pipeline import Node, Pipeline

from sparseshift.pipelines.binding import bind
from sparseshift.pipelines.data_engineering import nodes
from sparseshift.pipelines.parameters import ProjectParameters


def create_pipeline(plan: ProjectParameters) -> Pipeline:
    """Data engineering of every screen, in the screen's namespace."""
    return sum((_of_screen(plan, screen) for screen in plan.run.screens), Pipeline([]))


def _of_screen(plan: ProjectParameters, screen: str) -> Pipeline:
    parameters = f"params:screens.{screen}"
    steps = [
        *_origin(plan, screen),
        Node(nodes.check_raw, ["raw", parameters], "facts", name="check"),
        Node(
            nodes.filter_raw,
            _given(
                raw="raw",
                facts="facts",
                parameters=parameters,
                cut="cut" if plan.screens[screen].cut else None,
            ),
            ["screen", "filters"],
            name="filter",
        ),
        Node(
            nodes.assess_quality,
            ["screen", parameters],
            ["quality", "target_change", "batch_balance"],
            name="assess_quality",
        ),
    ]
    lists = plan.screens[screen].lists
    whole = Pipeline(
        steps,
        namespace=screen,
        inputs=_tables(plan, screen),
        parameters={parameters, "params:checkpoints"}
        if plan.screens[screen].cut
        else {parameters},
    )
    return whole + sum((_of_split(screen, split, lists) for split in plan.run.fits), Pipeline([]))


def _origin(plan: ProjectParameters, screen: str) -> list[Node]:
    """What makes the raw screen, unless it is a file that is used as it is."""
    parameters, cut = f"params:screens.{screen}", plan.screens[screen].cut
    if cut is not None:
        given = _given(
            source=cut.source or "source",
            parameters=parameters,
            checkpoints="params:checkpoints",
            perturbations=cut.perturbations,
            genes=cut.genes,
        )
        return [Node(nodes.cut_source, given, ["raw", "cut"], name="cut")]
    if plan.screens[screen].simulate is not None:
        # not `.simulate` alone: Kedro refuses a typed parameter inside another, depending on which
        # it meets first
        return [Node(nodes.simulate_screen, parameters, "raw", name="simulate")]
    return []


def _tables(plan: ProjectParameters, screen: str) -> set[str]:
    """Catalog entries that screens share, whose names take no namespace."""
    cut = plan.screens[screen].cut
    return {name for name in (cut.source, cut.perturbations, cut.genes) if name} if cut else set()


def _given(**inputs: str | None) -> dict[str, str]:
    return {name: dataset for name, dataset in inputs.items() if dataset is not None}


def _of_split(screen: str, split: str, lists: str | None) -> Pipeline:
    parameters = f"params:screens.{screen}"
    steps = [
        Node(
            bind(nodes.split_cells, split=split),
            _given(screen="screen", parameters=parameters, lists=lists),
            "split",
            name="split",
        ),
        Node(nodes.choose_genes, ["screen", "split", parameters], "genes", name="choose_genes"),
    ]
    shared = {"screen": f"{screen}.screen"} | ({lists: lists} if lists else {})
    return Pipeline(
        steps,
        namespace=f"{screen}.{split}",
        inputs=shared,
        parameters={parameters},
    )
