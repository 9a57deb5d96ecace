"""screen, unseen, split -> model, metrics of every fit; agreement of seeds; summary, figures, page."""

from itertools import product
from typing import NamedTuple

from kedro.pipeline import Node, Pipeline

from sparseshift.pipelines.binding import bind
from sparseshift.pipelines.grid import Fit
from sparseshift.pipelines.parameters import ProjectParameters
from sparseshift.pipelines.simulation import nodes
from sparseshift.pipelines.simulation_parameters import StudyParameters

_NAME = "simulation"  # of what is about the whole study


class Data(NamedTuple):
    """One simulated screen: a condition and a data seed."""

    condition: str
    seed: int

    @property
    def split(self) -> str:
        """What stands in the place of a split in the names of fits: data_N."""
        return f"data_{self.seed}"

    def dataset(self, name: str) -> str:
        """The full name of one of its datasets."""
        return f"{self.condition}.{self.split}.{name}"


def create_pipeline(plan: ProjectParameters) -> Pipeline:
    """Every fit of the study and what is said of all; nothing without a study."""
    study = plan.study
    if study is None:
        return Pipeline([])
    screens = [Data(*cell) for cell in product(study.conditions, study.data_seeds)]
    parts = [_simulate(data) for data in screens]
    for data in screens:
        for model in study.models_of(data.condition):
            fits = [Fit(data.condition, data.split, model, seed) for seed in study.model_seeds]
            parts += [_of_fit(data, fit) for fit in fits]
            parts += [_of_seeds(data, fits)] if len(fits) > 1 else []
    return sum([*parts, _of_all(study, screens)], Pipeline([]))


def _simulate(data: Data) -> Pipeline:
    parameters = f"params:study.conditions.{data.condition}"
    step = Node(
        bind(nodes.simulate_screen, data_seed=data.seed),
        parameters,
        ["screen", "unseen", "split"],
        name="simulate",
    )
    return Pipeline([step], namespace=f"{data.condition}.{data.split}", parameters={parameters})


def _of_fit(data: Data, fit: Fit) -> Pipeline:
    condition = f"params:study.conditions.{data.condition}"
    of_model = f"params:models.{fit.model}"
    steps = [
        Node(
            bind(nodes.fit_model, seed=fit.seed),
            ["screen", "split", condition, of_model, "params:checkpoints"],
            ["model", "history"],
            name="fit",
            tags=["gpu"],  # runners.DaskRunner sends it to a worker that has one
        ),
        Node(
            bind(nodes.score_model, key=fit._asdict()),
            ["model", "screen", "unseen", "split", "params:evaluation"],
            "metrics",
            name="score",
        ),
    ]
    return Pipeline(
        steps,
        namespace=fit.namespace,
        inputs={name: data.dataset(name) for name in ("screen", "unseen", "split")},
        parameters={condition, of_model, "params:checkpoints", "params:evaluation"},
    )


def _of_seeds(data: Data, fits: list[Fit]) -> Pipeline:
    first = fits[0]
    key = {"screen": first.screen, "split": first.split, "model": first.model}
    step = Node(
        bind(nodes.score_stability, key=key, seeds=[fit.seed for fit in fits]),
        [data.dataset("screen"), data.dataset("split"), *(fit.dataset("model") for fit in fits)],
        data.dataset(f"{first.model}.stability"),
        name="score_stability",
        namespace=data.dataset(first.model),
    )
    return Pipeline([step])


def _of_all(study: StudyParameters, screens: list[Data]) -> Pipeline:
    tables, cells = _tables(study, screens)
    figures, choice = _figures(study), []
    if study.choose_among:
        choose = bind(nodes.choose_models, among=study.choose_among)
        choice = [
            Node(
                choose,
                f"{_NAME}.metrics",
                f"{_NAME}.choice",
                name="choose_models",
                namespace=_NAME,
            )
        ]
    published = {
        name: condition.published
        for name, condition in study.conditions.items()
        if condition.published is not None
    }
    steps = [
        Node(
            bind(nodes.collect, cells=cells),
            tables,
            f"{_NAME}.metrics",
            name="collect",
            namespace=_NAME,
        ),
        Node(
            bind(nodes.summarise, settings=published),
            [f"{_NAME}.metrics", "published_recovery"],
            f"{_NAME}.summary",
            name="summarise",
            namespace=_NAME,
        ),
        *figures.values(),
        *choice,
        Node(
            bind(nodes.write_page, figures=list(figures), conditions=list(study.conditions)),
            [
                f"{_NAME}.metrics",
                f"{_NAME}.summary",
                *(node.outputs[0] for node in [*figures.values(), *choice]),
            ],
            f"{_NAME}_report",
            name="write_page",
            namespace=_NAME,
        ),
    ]
    return Pipeline(steps)


def _tables(
    study: StudyParameters, screens: list[Data]
) -> tuple[list[str], list[dict[str, object]]]:
    """Datasets of metrics, and which condition and data seed each is of."""
    tables: list[str] = []
    cells: list[dict[str, object]] = []
    for data in screens:
        for model in study.models_of(data.condition):
            own = [
                Fit(data.condition, data.split, model, seed).dataset("metrics")
                for seed in study.model_seeds
            ]
            if len(own) > 1:
                own.append(data.dataset(f"{model}.stability"))
            tables += own
            cells += [{"condition": data.condition, "data_seed": data.seed}] * len(own)
    return tables, cells


def _figures(study: StudyParameters) -> dict[str, Node]:
    """Nodes by the name that the page knows each figure by."""
    metrics = f"{_NAME}.metrics"
    nodes_by_name = {
        "stability": Node(
            nodes.draw_stability,
            metrics,
            f"{_NAME}.report.stability",
            name="draw_stability",
            namespace=_NAME,
        ),
        "cost": Node(
            nodes.draw_cost, metrics, f"{_NAME}.report.cost", name="draw_cost", namespace=_NAME
        ),
    }
    for condition in study.conditions:
        models = study.models_of(condition)
        drawn = study.drawn if study.drawn in models else models[-1]
        data = Data(condition, study.data_seeds[0])
        fit = Fit(condition, data.split, str(drawn), study.model_seeds[0])
        nodes_by_name[f"recovery.{condition}"] = Node(
            bind(nodes.draw_recovery, condition=condition),
            metrics,
            f"{_NAME}.report.recovery_{condition}",
            name=f"draw_recovery_{condition}",
            namespace=_NAME,
        )
        nodes_by_name[f"graph.{condition}"] = Node(
            nodes.draw_graph,
            [fit.dataset("model"), data.dataset("screen"), data.dataset("split")],
            f"{_NAME}.report.graph_{condition}",
            name=f"draw_graph_{condition}",
            namespace=_NAME,
        )
    return nodes_by_name
