"""conf/base/mlflow.yml: which tracking store a project uses."""

import os
import re
from pathlib import Path
from typing import Any

from kedro.config import MissingConfigException
from pydantic import BaseModel, ConfigDict, ValidationError

from sparseshift.errors import OptionError


class MLflowConfig(BaseModel):
    """The keys of mlflow.yml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tracking_uri: str | None = None
    experiment: str = "sparseshift"
    enabled: bool = True
    artifact_root: str | None = None

    def uri(self, project: Path) -> str:
        """MLFLOW_TRACKING_URI, else mlflow.yml, else the project's mlflow.db."""
        uri = os.environ.get("MLFLOW_TRACKING_URI") or self.tracking_uri or "sqlite:///mlflow.db"
        relative = re.fullmatch(r"sqlite:///(?!/)(.+)", uri)
        return f"sqlite:///{project / relative[1]}" if relative else uri

    def artifact_location(self, project: Path) -> str | None:
        """Where a new experiment keeps its files; None leaves it to the tracking server."""
        root = self.artifact_root
        if root and "://" in root:
            return root
        if not root and self.uri(project).startswith("http"):
            return None
        return (project / (root or "mlartifacts")).resolve().as_uri()


def read_config(config_loader: Any) -> MLflowConfig:
    """The project's mlflow.yml, or defaults where there is none.

    Raises:
        OptionError: For an unknown key or an impossible value.
    """
    try:
        return MLflowConfig.model_validate(config_loader["mlflow"])
    except (KeyError, MissingConfigException):
        return MLflowConfig()
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()
        )
        keys = ", ".join(MLflowConfig.model_fields)
        raise OptionError(f"mlflow.yml: {faults}. Its keys are {keys}.") from error
