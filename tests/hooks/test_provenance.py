import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
from kedro.framework.cli.project import run
from kedro.runner import SequentialRunner, ThreadRunner

from sparseshift.hooks.provenance import git_tags, rerun_command, runner_name, versions

NOTHING = dict.fromkeys(
    [
        "env", "pipeline_names", "tags", "node_names", "namespaces", "from_nodes", "to_nodes",
        "from_inputs", "to_outputs", "load_versions", "runtime_params", "only_missing_outputs",
    ]
)  # fmt: skip


def parsed(command: str) -> dict[str, Any]:
    """What Kedro's own command understands."""
    words = shlex.split(command)
    assert words[:2] == ["kedro", "run"]
    return run.make_context("run", words[2:]).params


@pytest.mark.parametrize(
    "params",
    [
        {"models": {"vae": {"lr": 1e-5, "epochs": 3, "beta": None, "warm": True}}},
        {"widths": [8, 4], "names": ["a, b", "c"], "none": [], "empty": {}},
        {"control": "non-targeting", "pair": "CBL+CNN1, both", "number": "1e3", "equal": "a=b"},
        {"space": " a ", "quote": 'it\'s "so"', "nested": [{"a": [1, 2]}, {"b": "x"}]},
    ],
)
def test_parameters_survive_the_command_line(params: dict[str, Any]) -> None:
    command = rerun_command({**NOTHING, "runner": "", "runtime_params": params})
    assert parsed(command)["params"] == params


def test_every_option_survives_the_command_line() -> None:
    params = {
        "env": "test",
        "pipeline_names": ["data", "modelling"],
        "tags": ("gpu",),
        "node_names": ("papalexi.held_out.vae.seed_0.fit", "split"),
        "namespaces": ["papalexi.held_out.vae"],
        "from_nodes": ["split"],
        "to_nodes": ["fit"],
        "from_inputs": ["screen"],
        "to_outputs": ["report"],
        "load_versions": {"report": "2026-01-01T00.00.00.000Z"},
        "only_missing_outputs": True,
    }
    command = rerun_command({**NOTHING, **params, "runner": str(ThreadRunner())})
    understood = parsed(command)
    for key, value in params.items():
        given = list(value) if isinstance(value, tuple) else value
        assert understood["pipelines" if key == "pipeline_names" else key] == given
    assert understood["runner"] == "ThreadRunner"


def test_runner_of_another_package_keeps_its_path() -> None:
    assert runner_name({"runner": str(SequentialRunner())}) == "SequentialRunner"
    assert runner_name({"runner": "<sparseshift.runners.dask.DaskRunner object at 0x7f>"}) == (
        "sparseshift.runners.dask.DaskRunner"
    )


def test_git_tags_see_a_change(tmp_path: Path) -> None:
    assert git_tags(tmp_path) == {}

    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        return subprocess.check_output(["git", *identity, *arguments], cwd=tmp_path, text=True)

    git("init", "--quiet")
    (tmp_path / "file").write_text("1")
    git("add", ".")
    git("commit", "--quiet", "--message", "first")
    commit = git("rev-parse", "HEAD").strip()
    clean = {"mlflow.source.git.commit": commit, "sparseshift.git.dirty": "false"}
    assert git_tags(tmp_path) == clean
    (tmp_path / "file").write_text("2")
    assert git_tags(tmp_path) == clean | {"sparseshift.git.dirty": "true"}


def test_versions_name_what_decides_the_numbers() -> None:
    assert versions().keys() == {
        f"version.{name}" for name in ("python", "torch", "anndata", "kedro", "sparseshift")
    }
