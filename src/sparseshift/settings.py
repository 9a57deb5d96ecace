"""Settings of the Kedro project."""

import os
from typing import Any

from kedro.config import OmegaConfigLoader

from sparseshift.hooks import MLflowHook, SparseshiftSession
from sparseshift.pipelines.plan import PlanContext

# One core a process, before torch is loaded: fits are too small to share out, and two processes with
# two threads each on two cores wait for each other. Several cores: --runner ParallelRunner.
os.environ.setdefault("OMP_NUM_THREADS", "1")

SESSION_CLASS = SparseshiftSession
CONTEXT_CLASS = PlanContext
HOOKS = (MLflowHook(),)
# kedro-mlflow, where someone has it, would log everything a second time
DISABLE_HOOKS_FOR_PLUGINS = ("kedro-mlflow",)
CONFIG_LOADER_CLASS = OmegaConfigLoader
CONFIG_LOADER_ARGS: dict[str, Any] = {
    "base_env": "base",
    "default_run_env": "local",
    "merge_strategy": {"parameters": "soft", "mlflow": "soft"},
    "config_patterns": {"mlflow": ["mlflow*", "mlflow*/**", "**/mlflow*"]},
}
