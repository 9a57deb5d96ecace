"""fits, split, screen -> likelihood of independent genes, n-shot curves, differences, ceilings, cross-fit."""

from kedro.pipeline import Node, Pipeline

from sparseshift.pipelines.binding import bind
from sparseshift.pipelines.grid import Fit, fits_of
from sparseshift.pipelines.parameters import HeldOutParameters, ProjectParameters
from sparseshift.pipelines.transfer import nodes


def create_pipeline(plan: ProjectParameters) -> Pipeline:
    """Every split of every screen, then the folds of a cross-fit together."""
    parts = []
    for screen in plan.run.screens:
        fits = fits_of(plan, screen)
        parts += [_n_shot(plan, fit) for fit in fits]
        parts += [_as_paper(fit) for fit in published(plan, fits)]
        for split in plan.run.fits:
            parts += [_without_latents(screen, split), _comparison(screen, split, fits)]
        parts += [_cross_fit(plan, screen, fits)] if folds_of(plan, screen) else []
    return sum(parts, Pipeline([]))


def _without_latents(screen: str, split: str) -> Pipeline:
    on_screen = f"params:screens.{screen}"
    given = ["screen", "split", "genes", on_screen, "params:evaluation"]
    steps = [
        Node(
            bind(nodes.score_independent_genes, name=screen),
            given,
            ["nb_scores", "nb_metrics", "nb_n_shot"],
            name="score_independent_genes",
        ),
        Node(
            bind(nodes.score_n_shot_baselines, name=screen),
            given,
            "baseline_n_shot",
            name="score_n_shot_baselines",
        ),
    ]
    return Pipeline(
        steps,
        namespace=f"{screen}.{split}",
        inputs={
            "screen": f"{screen}.screen",
            "split": f"{screen}.{split}.split",
            "genes": f"{screen}.{split}.genes",
        },
        parameters={on_screen, "params:evaluation"},
    )


def published(plan: ProjectParameters, fits: list[Fit]) -> list[Fit]:
    """Fits of presets that train as the published code does, which are scored as it does too."""
    return [fit for fit in fits if plan.models[fit.model].preset.startswith("paper.")]


def _as_paper(fit: Fit) -> Pipeline:
    step = Node(
        bind(nodes.score_as_paper, key=fit._asdict()),
        [
            fit.dataset("model"),
            f"{fit.screen}.screen",
            f"{fit.screen}.{fit.split}.split",
            "params:evaluation",
        ],
        fit.dataset("paper_metrics"),
        name="score_as_paper",
        namespace=fit.namespace,
    )
    return Pipeline([step])


def _n_shot(plan: ProjectParameters, fit: Fit) -> Pipeline:
    sparse = plan.models[fit.model].adaptation == "sparse"
    step = Node(
        bind(nodes.score_n_shot, key=fit._asdict(), sparse=sparse),
        [
            fit.dataset("model"),
            fit.dataset("adapted"),
            f"{fit.screen}.screen",
            f"{fit.screen}.{fit.split}.split",
            "params:evaluation",
        ],
        fit.dataset("n_shot"),
        name="score_n_shot",
        namespace=fit.namespace,
    )
    return Pipeline([step])


def _comparison(screen: str, split: str, fits: list[Fit]) -> Pipeline:
    """All models of a split beside each other."""
    own = [fit for fit in fits if fit.split == split]
    namespace = f"{screen}.{split}"
    step = Node(
        bind(nodes.compare_models, keys=[fit._asdict() for fit in own]),
        [
            "params:evaluation",
            f"{namespace}.baseline_predictions",
            f"{namespace}.nb_scores",
            *(fit.dataset("cell_scores") for fit in own),
            *(fit.dataset("predictions") for fit in own),
        ],
        [f"{namespace}.differences", f"{namespace}.ceilings"],
        name="compare",
        namespace=namespace,
    )
    return Pipeline([step])


def folds_of(plan: ProjectParameters, screen: str) -> list[str]:
    """The splits of a cross-fit, of two folds at least; none where there is none."""
    folds = [
        split
        for split in plan.run.fits
        if isinstance(rule := plan.screens[screen].splits[split].held_out, HeldOutParameters)
        and rule.fold is not None
    ]
    return folds if len(folds) > 1 else []


def _cross_fit(plan: ProjectParameters, screen: str, fits: list[Fit]) -> Pipeline:
    """All models over all folds."""
    folds = folds_of(plan, screen)
    own = [fit for fit in fits if fit.split in folds]
    step = Node(
        bind(nodes.cross_fit, keys=[fit._asdict() for fit in own], folds=folds),
        [
            "params:evaluation",
            *(f"{screen}.{fold}.baseline_predictions" for fold in folds),
            *(f"{screen}.{fold}.nb_scores" for fold in folds),
            *(fit.dataset("cell_scores") for fit in own),
            *(fit.dataset("predictions") for fit in own),
        ],
        [f"{screen}.cross_fit.{name}" for name in ("fold_metrics", "differences", "ceilings")],
        name="cross_fit",
        namespace=f"{screen}.cross_fit",
    )
    return Pipeline([step])
