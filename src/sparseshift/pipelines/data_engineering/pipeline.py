"""raw -> facts, screen, filters; a split and its genes for each split."""

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
        Node(nodes.check_raw, ["raw", parameters], "facts", name="check"),
        Node(nodes.filter_raw, ["raw", "facts", parameters], ["screen", "filters"], name="filter"),
    ]
    if plan.screens[screen].simulate is not None:
        # not `.simulate` alone: Kedro refuses a typed parameter inside another, depending on which
        # it meets first
        steps.insert(0, Node(nodes.simulate_screen, parameters, "raw", name="simulate"))
    whole = Pipeline(steps, namespace=screen, parameters={parameters})
    return whole + sum((_of_split(screen, split) for split in plan.run.fits), Pipeline([]))


def _of_split(screen: str, split: str) -> Pipeline:
    parameters = f"params:screens.{screen}"
    steps = [
        Node(bind(nodes.split_cells, split=split), ["screen", parameters], "split", name="split"),
        Node(nodes.choose_genes, ["screen", "split", parameters], "genes", name="choose_genes"),
    ]
    return Pipeline(
        steps,
        namespace=f"{screen}.{split}",
        inputs={"screen": f"{screen}.screen"},
        parameters={parameters},
    )
