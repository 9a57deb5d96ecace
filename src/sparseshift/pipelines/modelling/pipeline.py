"""screen, split, genes -> model, history, latents, effects, adapted, metrics of every fit."""

from kedro.pipeline import Node, Pipeline

from sparseshift.pipelines.binding import bind
from sparseshift.pipelines.grid import Fit, fits_of
from sparseshift.pipelines.modelling import nodes
from sparseshift.pipelines.parameters import ProjectParameters


def create_pipeline(plan: ProjectParameters) -> Pipeline:
    """Every fit of the plan, the latents of a screen's fits together, the baselines of every split."""
    parts = []
    for screen in plan.run.screens:
        fits = fits_of(plan, screen)
        parts += [_of_fit(plan, fit) for fit in fits]
        parts += [_export(fit) for fit in fits if _is_exported(plan, fit)]
        parts += [_latents(screen, fits)]
        parts += [_of_baselines(screen, split) for split in plan.run.fits]
    return sum(parts, Pipeline([]))


def _latents(screen: str, fits: list[Fit]) -> Pipeline:
    step = Node(
        bind(nodes.collect_latents, keys=[fit._asdict() for fit in fits]),
        [f"{screen}.screen", *(fit.dataset("latents") for fit in fits)],
        f"{screen}.embedded",
        name="collect_latents",
        namespace=screen,
    )
    return Pipeline([step])


def _of_fit(plan: ProjectParameters, fit: Fit) -> Pipeline:
    screen, split = fit.screen, fit.split
    on_screen, of_model = f"params:screens.{screen}", f"params:models.{fit.model}"
    steps = [
        Node(
            bind(nodes.fit_model, seed=fit.seed),
            ["screen", "split", "genes", of_model, on_screen, "params:checkpoints"],
            ["model", "history"],
            name="fit",
            tags=["gpu"],  # runners.DaskRunner sends it to a worker that has one
        ),
        Node(nodes.embed_cells, ["adapted", "screen"], "latents", name="embed"),
        Node(nodes.tabulate_effects, "model", "effects", name="tabulate_effects"),
        Node(
            bind(nodes.adapt_model, sparse=plan.models[fit.model].adaptation == "sparse"),
            ["model", "screen", "split"],
            "adapted",
            name="adapt",
        ),
        Node(
            nodes.score_cells,
            ["adapted", "screen", "split", "params:evaluation"],
            "cell_scores",
            name="score_cells",
        ),
        Node(
            nodes.score_predictions,
            ["model", "adapted", "cell_scores", "screen", "split", "params:evaluation"],
            "predictions",
            name="score_predictions",
        ),
        Node(
            bind(nodes.score_model, key=fit._asdict()),
            ["adapted", "cell_scores", "predictions", "screen", "split", "params:evaluation"],
            "metrics",
            name="score",
        ),
    ]
    return Pipeline(
        steps,
        namespace=fit.namespace,
        inputs={
            "screen": f"{screen}.screen",
            "split": f"{screen}.{split}.split",
            "genes": f"{screen}.{split}.genes",
        },
        parameters={on_screen, of_model, "params:checkpoints", "params:evaluation"},
    )


def _is_exported(plan: ProjectParameters, fit: Fit) -> bool:
    """Whether it predicts cells, and these are asked for."""
    split = plan.screens[fit.screen].splits[fit.split]
    holds_out = bool(split.held_out or split.cells_fraction)
    return plan.evaluation.cell_eval and holds_out and not plan.models[fit.model].is_linear


def _export(fit: Fit) -> Pipeline:
    step = Node(
        nodes.export_cell_eval,
        [
            fit.dataset("adapted"),
            f"{fit.screen}.screen",
            f"{fit.screen}.{fit.split}.split",
            "params:evaluation",
        ],
        [fit.dataset("cell_eval_predicted"), fit.dataset("cell_eval_observed")],
        name="export_cell_eval",
        namespace=fit.namespace,
    )
    return Pipeline([step])


def _of_baselines(screen: str, split: str) -> Pipeline:
    on_screen = f"params:screens.{screen}"
    step = Node(
        bind(nodes.score_baselines, name=screen),
        ["screen", "split", "genes", on_screen, "params:evaluation"],
        ["baseline_predictions", "baseline_metrics"],
        name="score_baselines",
    )
    return Pipeline(
        [step],
        namespace=f"{screen}.{split}",
        inputs={
            "screen": f"{screen}.screen",
            "split": f"{screen}.{split}.split",
            "genes": f"{screen}.{split}.genes",
        },
        parameters={on_screen, "params:evaluation"},
    )
