"""Which screens, splits, models and seeds a run has: read from the configuration, by a hook.

Kedro builds pipelines without telling them the environment. The hook sees the context (made before
the pipelines are) and keeps its parameters here for `pipeline_registry`.
"""

from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl

from sparseshift.pipelines.parameters import ProjectParameters

_plan: list[ProjectParameters] = []


class PlanHook:
    """Checks all parameters as soon as they are known, and keeps them for the registry."""

    @hook_impl
    def after_context_created(self, context: Any) -> None:
        """Checks the parameters of this environment; pipelines built before are forgotten."""
        from kedro.framework.project import pipelines

        # not context.params: reading those builds the pipelines, which need the plan
        _plan[:] = [ProjectParameters.check(context.config_loader["parameters"])]
        pipelines.configure("sparseshift.pipeline_registry")


def current_plan() -> ProjectParameters:
    """The parameters of the running session; without one (`kedro registry list`) those of base."""
    if not _plan:
        from kedro.config import OmegaConfigLoader
        from kedro.framework.project import settings
        from kedro.utils import find_kedro_project

        project = find_kedro_project(Path.cwd()) or Path.cwd()
        loader = OmegaConfigLoader(
            conf_source=str(Path(project) / settings.CONF_SOURCE), **settings.CONFIG_LOADER_ARGS
        )
        return ProjectParameters.check(loader["parameters"])
    return _plan[0]
