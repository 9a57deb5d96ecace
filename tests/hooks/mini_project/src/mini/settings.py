from kedro.config import OmegaConfigLoader

from sparseshift.hooks import MLflowHook, SparseshiftSession

HOOKS = (MLflowHook(),)
SESSION_CLASS = SparseshiftSession
CONFIG_LOADER_CLASS = OmegaConfigLoader
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "merge_strategy": {"parameters": "soft", "mlflow": "soft"},
    "config_patterns": {"mlflow": ["mlflow*", "mlflow*/**", "**/mlflow*"]},
}
