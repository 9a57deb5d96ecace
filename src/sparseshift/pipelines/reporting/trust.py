"""Refits -> metrics of the null, stable graph, interactions, honesty card, for one screen."""

from kedro.pipeline import Node

from sparseshift.pipelines.binding import bind
from sparseshift.pipelines.grid import Fit
from sparseshift.pipelines.parameters import ProjectParameters
from sparseshift.pipelines.refits.pipeline import control_guides, halves, permutations
from sparseshift.pipelines.reporting import trust_nodes as nodes
from sparseshift.pipelines.transfer.pipeline import folds_of


def trust_nodes(plan: ProjectParameters, screen: str) -> list[Node]:
    """All nodes of this part."""
    namespace, report = f"{screen}.report", plan.report
    fit = Fit(screen, report.split, report.model, plan.run.seeds[0])
    nulls = permutations(plan, screen) + control_guides(plan, screen)
    cells, on_screen = f"{screen}.screen", f"params:screens.{screen}"
    splits = list(plan.run.fits)
    compared = [*splits, *(["cross_fit"] if folds_of(plan, screen) else [])]
    return [
        Node(
            bind(
                nodes.score_refits,
                key=fit._asdict(),
                permutations=len(permutations(plan, screen)),
            ),
            [fit.dataset("effects"), *(f"{name}.effects" for name in nulls)],
            f"{namespace}.refit_metrics",
            name="score_refits",
            namespace=namespace,
        ),
        _graph(plan, screen, fit),
        Node(
            nodes.draw_stable_graph,
            [f"{namespace}.edges", f"{namespace}.stable_latents"],
            f"{namespace}.stable_graph",
            name="draw_stable_graph",
            namespace=namespace,
        ),
        Node(
            nodes.find_interactions,
            [fit.dataset("latents"), cells, on_screen],
            f"{namespace}.interactions",
            name="find_interactions",
            namespace=namespace,
        ),
        Node(
            nodes.draw_interactions,
            f"{namespace}.interactions",
            f"{namespace}.interaction",
            name="draw_interactions",
            namespace=namespace,
        ),
        Node(
            bind(nodes.compare_n_shot, screen=screen, folds=folds_of(plan, screen)),
            [f"{namespace}.n_shot", "params:evaluation"],
            f"{namespace}.n_shot_differences",
            name="compare_n_shot",
            namespace=namespace,
        ),
        Node(
            bind(
                nodes.write_honesty_card,
                n_ceilings=len(compared),
                splits=splits,
                folds=folds_of(plan, screen),
            ),
            [
                f"{screen}_metrics",
                f"{screen}.batch_balance",
                f"{namespace}.n_shot",
                f"{namespace}.n_shot_differences",
                "params:report",
                *(f"{screen}.{split}.ceilings" for split in compared),
                *(f"{screen}.{split}.split" for split in splits),
            ],
            f"{namespace}.honesty",
            name="write_honesty_card",
            namespace=namespace,
        ),
    ]


def _graph(plan: ProjectParameters, screen: str, fit: Fit) -> Node:
    """Of half-samples, where they were asked for, else of the seeds, else of the only fit."""
    namespace = f"{screen}.report"
    outputs = [f"{namespace}.{name}" for name in ("edges", "stable_latents", "graph")]
    fits = [f"{fit._replace(seed=seed).namespace}" for seed in plan.run.seeds]
    refits = halves(plan, screen)
    if refits:
        fits = [fit.namespace, *refits]
    if len(fits) == 1:
        return Node(
            nodes.keep_graph,
            fit.dataset("effects"),
            outputs,
            name="keep_graph",
            namespace=namespace,
        )
    return Node(
        bind(nodes.find_stable_graph, n_fits=len(fits), reference=bool(refits)),
        [*(f"{name}.effects" for name in fits), *(f"{name}.latents" for name in fits)],
        outputs,
        name="find_stable_graph",
        namespace=namespace,
    )
