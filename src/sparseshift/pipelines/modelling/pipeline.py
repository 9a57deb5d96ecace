"""screen, split, genes -> model, history, latents, effects, adapted, metrics of every fit."""

from kedro.pipeline import Node, Pipeline

from sparseshift.pipelines.binding import bind
from sparseshift.pipelines.modelling import nodes
from sparseshift.pipelines.parameters import ProjectParameters


def create_pipeline(plan: ProjectParameters) -> Pipeline:
    """Every fit of the plan, and the baselines of every split."""
    fits = [
        _of_fit(screen, split, model, seed)
        for screen in plan.run.screens
        for split, models in plan.run.fits.items()
        for model in models
        for seed in plan.run.seeds
    ]
    baselines = [
        _of_baselines(screen, split) for screen in plan.run.screens for split in plan.run.fits
    ]
    return sum([*fits, *baselines], Pipeline([]))


def _of_fit(screen: str, split: str, model: str, seed: int) -> Pipeline:
    on_screen, of_model = f"params:screens.{screen}", f"params:models.{model}"
    key = {"screen": screen, "model": model, "split": split, "seed": seed}
    steps = [
        Node(
            bind(nodes.fit_model, seed=seed),
            ["screen", "split", "genes", of_model, on_screen],
            ["model", "history"],
            name="fit",
        ),
        Node(nodes.embed_cells, ["model", "screen"], "latents", name="embed"),
        Node(nodes.tabulate_effects, "model", "effects", name="tabulate_effects"),
        Node(nodes.adapt_model, ["model", "screen", "split"], "adapted", name="adapt"),
        Node(
            nodes.score_cells,
            ["adapted", "screen", "split", "params:evaluation"],
            "cell_scores",
            name="score_cells",
        ),
        Node(
            bind(nodes.score_model, key=key),
            ["adapted", "cell_scores", "screen", "split", "params:evaluation"],
            "metrics",
            name="score",
        ),
    ]
    return Pipeline(
        steps,
        namespace=f"{screen}.{split}.{model}.seed_{seed}",
        inputs={
            "screen": f"{screen}.screen",
            "split": f"{screen}.{split}.split",
            "genes": f"{screen}.{split}.genes",
        },
        parameters={on_screen, of_model, "params:evaluation"},
    )


def _of_baselines(screen: str, split: str) -> Pipeline:
    on_screen = f"params:screens.{screen}"
    step = Node(
        bind(nodes.score_baselines, name=screen),
        ["screen", "split", "genes", on_screen, "params:evaluation"],
        "baseline_metrics",
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
