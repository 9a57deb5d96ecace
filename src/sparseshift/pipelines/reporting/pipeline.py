"""Per screen: tables and figures. Over all screens: metrics.csv and the page."""

from collections.abc import Callable
from typing import Any

from kedro.pipeline import Node, Pipeline

from sparseshift.pipelines.binding import bind
from sparseshift.pipelines.grid import Fit, fits_of
from sparseshift.pipelines.parameters import ProjectParameters
from sparseshift.pipelines.reporting import nodes
from sparseshift.pipelines.reporting.trust import trust_nodes
from sparseshift.pipelines.transfer.pipeline import folds_of, published

# figure: the dataset it draws, {screen} to be filled in (None: drawn elsewhere), and how
FIGURES: dict[str, tuple[str | None, Callable[..., Any] | None]] = {
    "metric_comparison": ("{screen}_metrics", nodes.draw_metrics),
    "training_curves": ("{screen}.report.histories", nodes.draw_training),
    "effect_matrix": (None, None),
    "stable_graph": (None, None),
    "latent_genes": ("{screen}.report.top_genes", nodes.draw_genes),
    "latent_embedding": ("{screen}.report.embedding", nodes.draw_embedding),
    "interaction": (None, None),
    "n_shot_curve": ("{screen}.report.n_shot", nodes.draw_n_shot),
    "cells_per_perturbation": ("{screen}.quality", nodes.draw_cells),
    "counts_per_cell": ("{screen}.quality", nodes.draw_counts),
    "target_knockdown": ("{screen}.target_change", nodes.draw_targets),
}


def create_pipeline(plan: ProjectParameters) -> Pipeline:
    """Reporting of every screen, then of all together."""
    per_screen = [_of_screen(plan, screen) for screen in plan.run.screens]
    return sum([*per_screen, _of_all(plan)], Pipeline([]))


def _of_screen(plan: ProjectParameters, screen: str) -> Pipeline:
    namespace = f"{screen}.report"
    fits = fits_of(plan, screen)
    figures = dict(FIGURES)
    mechanism = _mechanism(plan, screen, fits)
    if mechanism:
        figures["quadruples"] = ("{screen}.report.shared_mechanism", nodes.draw_mechanism)
    if plan.screens[screen].columns.batch is not None:
        figures["perturbations_by_batch"] = ("{screen}.batch_balance", nodes.draw_batches)
    tables = [fit.dataset("metrics") for fit in fits]
    tables += [f"{screen}.{split}.baseline_metrics" for split in plan.run.fits]
    tables += [fit.dataset("paper_metrics") for fit in published(plan, fits)]
    tables += [f"{screen}.{split}.nb_metrics" for split in plan.run.fits]
    tables += [f"{screen}.{split}.differences" for split in plan.run.fits]
    if folds_of(plan, screen):
        tables += [f"{screen}.cross_fit.fold_metrics", f"{screen}.cross_fit.differences"]
    tables += [f"{namespace}.refit_metrics"]
    tables += [f"{namespace}.mechanism_metrics"] if mechanism else []
    compared = [*plan.run.fits, *(["cross_fit"] if folds_of(plan, screen) else [])]
    steps = [
        Node(
            nodes.collect, tables, f"{screen}_metrics", name="collect_metrics", namespace=namespace
        ),
        Node(
            nodes.collect,
            [fit.dataset("n_shot") for fit in fits]
            + [
                f"{screen}.{split}.{table}"
                for split in plan.run.fits
                for table in ("nb_n_shot", "baseline_n_shot")
            ],
            f"{namespace}.n_shot",
            name="collect_n_shot",
            namespace=namespace,
        ),
        *_collected(screen, fits),
        *_shown(plan, screen),
        *mechanism,
        *trust_nodes(plan, screen),
        *_figures(screen, figures),
        Node(
            bind(
                nodes.write_section,
                contents=nodes.Contents(screen, list(figures), list(plan.run.fits)),
            ),
            [
                f"{screen}_metrics",
                f"{screen}.facts",
                f"{screen}.filters",
                f"{namespace}.edges",
                f"{namespace}.interactions",
                f"{namespace}.honesty",
                *(f"{namespace}.{kind}" for kind in figures),
                *(f"{screen}.{split}.split" for split in plan.run.fits),
                *(f"{screen}.{split}.ceilings" for split in compared),
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
            [
                fit.dataset("model"),
                cells,
                f"{screen}.{fit.split}.split",
                on_screen,
                "params:report",
            ],
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
            table.format(screen=screen),
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
    if not (compared and plan.screens[screen].shared_mechanism):
        return []
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
