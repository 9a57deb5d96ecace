"""screen, split, genes -> effects of refits, in the namespace screen.refits.NAME."""

from collections.abc import Callable
from typing import Any

from kedro.pipeline import Node, Pipeline

from sparseshift.pipelines.binding import bind
from sparseshift.pipelines.parameters import ProjectParameters
from sparseshift.pipelines.refits import nodes


def create_pipeline(plan: ProjectParameters) -> Pipeline:
    """The refits of every screen."""
    return sum((_of_screen(plan, screen) for screen in plan.run.screens), Pipeline([]))


def permutations(plan: ProjectParameters, screen: str) -> list[str]:
    """Namespaces of the refits to permuted labels."""
    return [f"{screen}.refits.permutation_{n}" for n in range(plan.refits.permutations)]


def control_guides(plan: ProjectParameters, screen: str) -> list[str]:
    """Namespace of the refit to control guides, where the screen has them."""
    wanted = plan.refits.control_guides and plan.screens[screen].guide is not None
    return [f"{screen}.refits.control_guides"] if wanted else []


def halves(plan: ProjectParameters, screen: str) -> list[str]:
    """Namespaces of the refits to half of the cells."""
    return [f"{screen}.refits.half_{n}" for n in range(2 * plan.refits.half_samples)]


def _of_screen(plan: ProjectParameters, screen: str) -> Pipeline:
    steps = [
        _refit(plan, screen, name, bind(nodes.refit_permuted, number=n), ["effects"])
        for n, name in enumerate(permutations(plan, screen))
    ]
    steps += [
        _refit(plan, screen, name, nodes.refit_control_guides, ["effects"])
        for name in control_guides(plan, screen)
    ]
    steps += [
        _refit(plan, screen, name, bind(nodes.refit_half, number=n), ["effects", "latents"])
        for n, name in enumerate(halves(plan, screen))
    ]
    return sum(steps, Pipeline([]))


def _refit(
    plan: ProjectParameters,
    screen: str,
    namespace: str,
    function: Callable[..., Any],
    outputs: list[str],
) -> Pipeline:
    split, on_screen = plan.report.split, f"params:screens.{screen}"
    of_model = f"params:models.{plan.report.model}"
    inputs = ["screen", "split", "genes", of_model, on_screen, "params:checkpoints"]
    step = Node(
        function,
        inputs,
        outputs if len(outputs) > 1 else outputs[0],
        name="refit",
        tags=["gpu"],
    )
    return Pipeline(
        [step],
        namespace=namespace,
        inputs={
            "screen": f"{screen}.screen",
            "split": f"{screen}.{split}.split",
            "genes": f"{screen}.{split}.genes",
        },
        parameters={of_model, on_screen, "params:checkpoints"},
    )
