"""Per screen: tables and figures. Over all screens: metrics.csv and the page."""

from kedro.pipeline import Node, Pipeline

from sparseshift.pipelines.binding import bind
from sparseshift.pipelines.parameters import ProjectParameters
from sparseshift.pipelines.reporting import nodes

FIGURES = {
    "training_curves": nodes.draw_training,
    "metric_comparison": nodes.draw_metrics,
    "effect_matrix": nodes.draw_effects,
    "latent_embedding": nodes.draw_embedding,
    "latent_genes": nodes.draw_genes,
}


def create_pipeline(plan: ProjectParameters) -> Pipeline:
    """Reporting of every screen, then of all together."""
    per_screen = [_of_screen(plan, screen) for screen in plan.run.screens]
    return sum([*per_screen, _of_all(plan)], Pipeline([]))


def _fits(plan: ProjectParameters, screen: str) -> list[tuple[str, str, str, int]]:
    return [
        (screen, split, model, seed)
        for split, models in plan.run.fits.items()
        for model in models
        for seed in plan.run.seeds
    ]


def _name(fit: tuple[str, str, str, int], dataset: str) -> str:
    screen, split, model, seed = fit
    return f"{screen}.{split}.{model}.seed_{seed}.{dataset}"


def _of_screen(plan: ProjectParameters, screen: str) -> Pipeline:
    report, on_screen = plan.report, f"params:screens.{screen}"
    fits = _fits(plan, screen)
    shown = (screen, report.split, report.model, plan.run.seeds[0])
    keys = [{"model": model, "split": split, "seed": seed} for _, split, model, seed in fits]
    tables = [_name(fit, "metrics") for fit in fits]
    tables += [f"{screen}.{split}.baseline_metrics" for split in plan.run.fits]
    steps = [
        Node(nodes.collect, tables, "metrics", name="collect_metrics"),
        Node(
            bind(nodes.collect_histories, keys=keys),
            [_name(fit, "history") for fit in fits],
            "histories",
            name="collect_histories",
        ),
        Node(
            nodes.rank_genes,
            [_name(shown, "model"), f"{screen}.screen", "params:report"],
            "top_genes",
            name="rank_genes",
        ),
        Node(
            nodes.embed_in_plane,
            [
                _name(shown, "latents"),
                f"{screen}.screen",
                _name(shown, "effects"),
                on_screen,
                "params:report",
            ],
            "embedding",
            name="embed_in_plane",
        ),
        Node(nodes.draw_training, "histories", "training_curves", name="draw_training"),
        Node(nodes.draw_metrics, "metrics", "metric_comparison", name="draw_metrics"),
        Node(nodes.draw_effects, _name(shown, "effects"), "effect_matrix", name="draw_effects"),
        Node(nodes.draw_embedding, "embedding", "latent_embedding", name="draw_embedding"),
        Node(nodes.draw_genes, "top_genes", "latent_genes", name="draw_genes"),
    ]
    if plan.screens[screen].shared_mechanism:
        compared = [fit for fit in fits if fit[1] == report.split and fit[2] != "vae"]
        steps += [
            Node(
                bind(
                    nodes.compare_mechanism,
                    names=[f"{model}, seed {seed}" for _, _, model, seed in compared],
                ),
                [
                    f"{screen}.screen",
                    f"{screen}.{report.split}.genes",
                    on_screen,
                    *(_name(fit, "model") for fit in compared),
                ],
                "shared_mechanism",
                name="compare_mechanism",
            ),
            Node(nodes.draw_mechanism, "shared_mechanism", "quadruples", name="draw_mechanism"),
        ]
    whole = Pipeline(steps)
    outside = {name for name in whole.inputs() if not name.startswith("params:")}
    parameters = {name for name in whole.inputs() if name.startswith("params:")}
    return Pipeline(whole, namespace=f"{screen}.report", inputs=outside, parameters=parameters)


def _of_all(plan: ProjectParameters) -> Pipeline:
    keys: list[tuple[str, str]] = []
    datasets: list[str] = []
    for screen in plan.run.screens:
        kinds = {kind: f"{screen}.report.{kind}" for kind in FIGURES}
        kinds |= {"facts": f"{screen}.facts", "filters": f"{screen}.filters"}
        kinds |= {f"split.{split}": f"{screen}.{split}.split" for split in plan.run.fits}
        if plan.screens[screen].shared_mechanism:
            kinds |= {k: f"{screen}.report.{k}" for k in ("shared_mechanism", "quadruples")}
        keys += [(screen, kind) for kind in kinds]
        datasets += kinds.values()
    steps = [
        Node(
            nodes.collect,
            [f"{screen}.report.metrics" for screen in plan.run.screens],
            "metrics",
            name="collect_all_metrics",
        ),
        Node(
            bind(nodes.write_page, keys=keys),
            ["metrics", "params:report", *datasets],
            "report",
            name="write_page",
        ),
    ]
    return Pipeline(steps)
