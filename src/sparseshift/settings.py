"""Settings of the Kedro project."""

from typing import Any

from kedro.config import OmegaConfigLoader

from sparseshift.hooks import MLflowHook, SparseshiftSession
from sparseshift.pipelines.plan import PlanHook

SESSION_CLASS = SparseshiftSession
HOOKS = (PlanHook(), MLflowHook())
# kedro-mlflow, where someone has it, would log everything a second time
DISABLE_HOOKS_FOR_PLUGINS = ("kedro-mlflow",)
CONFIG_LOADER_CLASS = OmegaConfigLoader
CONFIG_LOADER_ARGS: dict[str, Any] = {
    "base_env": "base",
    "default_run_env": "local",
    "merge_strategy": {"parameters": "soft", "mlflow": "soft"},
    "config_patterns": {"mlflow": ["mlflow*", "mlflow*/**", "**/mlflow*"]},
}
