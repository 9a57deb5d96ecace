"""Per screen: tables and figures. Over all screens: metrics.csv and the page."""

from collections.abc import Callable
from typing import Any

from kedro.pipeline import Node, Pipeline

from sparseshift.pipelines.binding import bind
from sparseshift.pipelines.grid import Fit, fits_of
from sparseshift.pipelines.parameters import ProjectParameters
from sparseshift.pipelines.reporting import nodes

# figure: the reporting table it draws (None: drawn from a fit's own table) and how
FIGURES: dict[str, tuple[str | None, Callable[..., Any] | None]] = {
    "metric_comparison": ("metrics", nodes.draw_metrics),
    "training_curves": ("histories", nodes.draw_training),
    "effect_matrix": (None, None),
    "latent_genes": ("top_genes", nodes.draw_genes),
    "latent_embedding": ("embedding", nodes.draw_embedding),
}


def create_pipeline(plan: ProjectParameters) -> Pipeline:
    """Reporting of every screen, then of all together."""
    per_screen = [_of_screen(plan, screen) for screen in plan.run.screens]
    return sum([*per_screen, _of_all(plan)], Pipeline([]))


def _of_screen(plan: ProjectParameters, screen: str) -> Pipeline:
    namespace = f"{screen}.report"
    fits = fits_of(plan, screen)
    figures = dict(FIGURES)
    mechanism = []
    if plan.screens[screen].shared_mechanism:
        mechanism = _mechanism(plan, screen, fits)
        figures["quadruples"] = ("shared_mechanism", nodes.draw_mechanism)
    tables = [fit.dataset("metrics") for fit in fits]
    tables += [f"{screen}.{split}.baseline_metrics" for split in plan.run.fits]
    tables += [f"{namespace}.mechanism_metrics"] if mechanism else []
    steps = [
        Node(
            nodes.collect, tables, f"{screen}_metrics", name="collect_metrics", namespace=namespace
        ),
        *_collected(screen, fits),
        *_shown(plan, screen),
        *mechanism,
        *_figures(screen, figures),
        Node(
            bind(
                nodes.write_section,
                figures=list(figures),
                splits=list(plan.run.fits),
                screen=screen,
            ),
            [
                f"{screen}_metrics",
                f"{screen}.facts",
                f"{screen}.filters",
                f"{namespace}.effects",
                "params:report",
                *(f"{namespace}.{kind}" for kind in figures),
                *(f"{screen}.{split}.split" for split in plan.run.fits),
            ],
            f"{screen}_section",
            name="write_section",
            namespace=namespace,
        ),
    ]
    return Pipeline(steps)


def _collected(screen: str, fits: list[Fit]) -> list[Node]:
    """Histories and effects of all fits together."""
    namespace, keys = f"{screen}.report", [fit._asdict() for fit in fits]
    return [
        Node(
            bind(nodes.collect_by_fit, keys=keys),
            [fit.dataset(table) for fit in fits],
            f"{namespace}.{together}",
            name=f"collect_{together}",
            namespace=namespace,
        )
        for table, together in (("history", "histories"), ("effects", "effects"))
    ]


def _shown(plan: ProjectParameters, screen: str) -> list[Node]:
    """Tables of the one fit that is drawn."""
    namespace, report = f"{screen}.report", plan.report
    fit = Fit(screen, report.split, report.model, plan.run.seeds[0])
    cells, on_screen = f"{screen}.screen", f"params:screens.{screen}"
    return [
        Node(
            nodes.rank_genes,
            [fit.dataset("model"), cells, f"{screen}.{fit.split}.split", "params:report"],
            f"{namespace}.top_genes",
            name="rank_genes",
            namespace=namespace,
        ),
        Node(
            nodes.embed_in_plane,
            [fit.dataset("latents"), cells, fit.dataset("effects"), on_screen, "params:report"],
            f"{namespace}.embedding",
            name="embed_in_plane",
            namespace=namespace,
        ),
        Node(
            nodes.draw_effects,
            fit.dataset("effects"),
            f"{namespace}.effect_matrix",
            name="draw_effect_matrix",
            namespace=namespace,
        ),
    ]


def _figures(screen: str, figures: dict[str, Any]) -> list[Node]:
    namespace = f"{screen}.report"
    return [
        Node(
            draw,
            f"{screen}_metrics" if table == "metrics" else f"{namespace}.{table}",
            f"{namespace}.{kind}",
            name=f"draw_{kind}",
            namespace=namespace,
        )
        for kind, (table, draw) in figures.items()
        if table is not None
    ]


def _mechanism(plan: ProjectParameters, screen: str, fits: list[Fit]) -> list[Node]:
    namespace, split = f"{screen}.report", plan.report.split
    compared = [fit for fit in fits if fit.split == split and plan.models[fit.model].has_shifts]
    return [
        Node(
            bind(nodes.compare_mechanism, keys=[fit._asdict() for fit in compared]),
            [
                f"{screen}.screen",
                f"{screen}.{split}.genes",
                f"params:screens.{screen}",
                *(fit.dataset("model") for fit in compared),
            ],
            [f"{namespace}.mechanism_metrics", f"{namespace}.shared_mechanism"],
            name="compare_mechanism",
            namespace=namespace,
        )
    ]


def _of_all(plan: ProjectParameters) -> Pipeline:
    return Pipeline(
        [
            Node(
                nodes.collect,
                [f"{screen}_metrics" for screen in plan.run.screens],
                "metrics",
                name="collect_all_metrics",
                namespace="summary",
            ),
            Node(
                nodes.write_page,
                ["metrics", "params:report", *(f"{s}_section" for s in plan.run.screens)],
                "report",
                name="write_page",
                namespace="summary",
            ),
        ]
    )
