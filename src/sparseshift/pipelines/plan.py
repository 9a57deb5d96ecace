"""Which screens, splits, models and seeds a run has: read from the configuration by the context.

Kedro builds pipelines without telling them the environment. Every way in (run, viz, notebooks) makes
a context first, which keeps its parameters here for `pipeline_registry`. A hook would do for `kedro
run`, but kedro-viz switches hooks off.
"""

import os
from pathlib import Path
from typing import Any

from kedro.framework.context import KedroContext

from sparseshift.pipelines.parameters import ProjectParameters

_plan: list[ProjectParameters] = []


class PlanContext(KedroContext):
    """Checks all parameters as soon as they are known, and keeps them for the registry."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        from kedro.framework.project import pipelines

        super().__init__(*args, **kwargs)
        # not self.params: reading those builds the pipelines, which need the plan
        _plan[:] = [ProjectParameters.check(self.config_loader["parameters"])]
        # pipelines built before, for another environment, are forgotten
        pipelines.configure("sparseshift.pipeline_registry")


def current_plan() -> ProjectParameters:
    """The parameters of the running session; without one (`kedro registry list`) the default ones."""
    if not _plan:
        from kedro.config import OmegaConfigLoader
        from kedro.framework.project import settings
        from kedro.utils import find_kedro_project

        project = find_kedro_project(Path.cwd()) or Path.cwd()
        loader = OmegaConfigLoader(
            conf_source=str(Path(project) / settings.CONF_SOURCE),
            env=os.getenv("KEDRO_ENV"),
            **settings.CONFIG_LOADER_ARGS,
        )
        return ProjectParameters.check(loader["parameters"])
    return _plan[0]
