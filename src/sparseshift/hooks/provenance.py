"""Where a run comes from: the commit, the versions, and the command that runs it again."""

import getpass
import math
import platform
import re
import shlex
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import click
import yaml
from omegaconf import OmegaConf

from sparseshift.hooks.records import plain

PACKAGES = ("torch", "anndata", "kedro", "sparseshift")


def run_tags(run_params: dict[str, Any], project: Path) -> dict[str, str]:
    """All tags of a `kedro run`; those that do not apply are left out."""
    tags = {
        "kedro.run_id": run_params["run_id"],
        "kedro.pipelines": ",".join(run_params["pipeline_names"] or ["__default__"]),
        "kedro.env": run_params["env"] or "local",
        "kedro.namespaces": ",".join(run_params["namespaces"] or []),
        "kedro.tags": ",".join(run_params["tags"] or []),
        "kedro.runner": runner_name(run_params),
        "kedro.command": rerun_command(run_params),
        "mlflow.user": _user(),
        "mlflow.source.name": "kedro run",
        **git_tags(project),
        **versions(),
    }
    return {key: value for key, value in tags.items() if value}


def git_tags(project: Path) -> dict[str, str]:
    """The commit, and whether the working tree differs from it; empty without git."""

    def git(*arguments: str) -> str:
        command = ["git", "--no-optional-locks", *arguments]
        return subprocess.run(
            command, cwd=project, capture_output=True, text=True, check=True, timeout=30
        ).stdout.strip()

    try:
        return {
            "mlflow.source.git.commit": git("rev-parse", "HEAD"),
            "sparseshift.git.dirty": str(bool(git("status", "--porcelain"))).lower(),
        }
    except (OSError, subprocess.SubprocessError):
        return {}


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide the numbers."""
    found = {"version.python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[f"version.{package}"] = version(package)
        except PackageNotFoundError:
            continue
    return found


def runner_name(run_params: dict[str, Any]) -> str:
    """The runner as `--runner` takes it: a bare name for Kedro's own, else a dotted path."""
    # Kedro records the runner's repr, "<kedro.runner.thread_runner.ThreadRunner object at 0x..>".
    match = re.match(r"<([\w.]+) object", str(run_params["runner"]))
    path = match[1] if match else "SequentialRunner"
    return path.rsplit(".", 1)[-1] if path.startswith("kedro.runner.") else path


def rerun_command(run_params: dict[str, Any]) -> str:
    """The `kedro run` command line, quoted for a shell, that does the same again."""
    context = click.get_current_context(silent=True)
    typed = context.params if context else {}
    runner = runner_name(run_params)
    options = {
        "--env": run_params["env"],
        "--conf-source": typed.get("conf_source"),
        "--pipelines": run_params["pipeline_names"],
        "--tags": run_params["tags"],
        "--nodes": run_params["node_names"],
        "--namespaces": run_params["namespaces"],
        "--from-nodes": run_params["from_nodes"],
        "--to-nodes": run_params["to_nodes"],
        "--from-inputs": run_params["from_inputs"],
        "--to-outputs": run_params["to_outputs"],
        "--load-versions": [
            f"{name}:{when}" for name, when in (run_params["load_versions"] or {}).items()
        ],
        "--params": _dotlist(run_params["runtime_params"]),
        "--runner": runner if runner != "SequentialRunner" else None,
        "--runner-params": _dotlist(typed.get("runner_params")),
    }
    command = ["kedro", "run"]
    for option, value in options.items():
        if value:
            command += [option, value if isinstance(value, str) else ",".join(value)]
    if typed.get("is_async"):
        command.append("--async")
    if run_params["only_missing_outputs"]:
        command.append("--only-missing-outputs")
    return shlex.join(command)


def _dotlist(values: Any, prefix: str = "") -> list[str]:
    entries = []
    for key, value in (plain(values) or {}).items():
        path = f"{prefix}{key}"
        if isinstance(value, dict) and value:
            entries += _dotlist(value, f"{path}.")
        else:
            entries.append(f"{path}={_yaml(value)}")
    return entries


def _yaml(value: Any) -> str:
    # Kedro splits --params at every comma, so none may be left: lists are written as blocks, and
    # a comma in a text as an escape, which YAML knows in double quotes only.
    text = ""
    for style in (None, '"'):
        text = yaml.safe_dump(value, default_flow_style=False, default_style=style, width=math.inf)
        text = text.removesuffix("...\n").strip().replace(",", "\\x2c")
        if OmegaConf.to_container(OmegaConf.from_dotlist([f"x={text}"])) == {"x": value}:
            break
    return text


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""
