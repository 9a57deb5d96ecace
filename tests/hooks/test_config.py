from pathlib import Path

import pytest

from sparseshift.errors import OptionError
from sparseshift.hooks.config import MLflowConfig, read_config

PROJECT = Path("/project")


def test_unknown_key_is_named_with_those_that_exist() -> None:
    with pytest.raises(OptionError, match=r"experimental: Extra inputs .* tracking_uri") as error:
        read_config({"mlflow": {"experimental": True}})
    assert "enabled" in str(error.value)


def test_project_without_the_file_has_defaults() -> None:
    assert read_config({}) == MLflowConfig()


def test_environment_comes_before_file_before_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    named = MLflowConfig(tracking_uri="http://127.0.0.1:5000")
    assert MLflowConfig().uri(PROJECT) == "sqlite:////project/mlflow.db"
    assert MLflowConfig(tracking_uri="sqlite:////a/b.db").uri(PROJECT) == "sqlite:////a/b.db"
    assert named.uri(PROJECT) == "http://127.0.0.1:5000"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server")
    assert named.uri(PROJECT) == "http://server"


def test_artifacts_lie_in_the_project_or_with_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    server = "http://127.0.0.1:5000"
    assert MLflowConfig().artifact_location(PROJECT) == "file:///project/mlartifacts"
    assert MLflowConfig(artifact_root="a").artifact_location(PROJECT) == "file:///project/a"
    assert MLflowConfig(artifact_root="s3://a").artifact_location(PROJECT) == "s3://a"
    assert MLflowConfig(tracking_uri=server).artifact_location(PROJECT) is None
