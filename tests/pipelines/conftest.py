import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]


class Finished(NamedTuple):
    """A finished command: where it ran, its exit code, and all it printed."""

    project: Path
    code: int
    text: str


def copy_project(folder: Path) -> Path:
    """A copy of the project that writes its data, logs and runs below `folder`."""
    folder.mkdir()
    for name in ("pyproject.toml", ".telemetry"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "conf", folder / "conf", ignore=shutil.ignore_patterns("local"))
    (folder / "conf" / "local").mkdir()
    (folder / "src").mkdir()  # the package itself is installed
    (folder / "data").mkdir()
    (folder / "data" / "01_raw").symlink_to(ROOT / "data" / "01_raw")
    return folder


def kedro(project: Path, *arguments: str, **environment: str) -> Finished:
    """Runs a kedro command in a project, with some environment variables set."""
    done = subprocess.run(
        [sys.executable, "-m", "kedro", *arguments],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "COLUMNS": "200", "DO_NOT_TRACK": "true", **environment},
    )
    return Finished(project, done.returncode, done.stdout + done.stderr)


@pytest.fixture(scope="session")
def make_project() -> Callable[[Path], Path]:
    return copy_project


@pytest.fixture(scope="session")
def run_kedro() -> Callable[..., Finished]:
    return kedro


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return copy_project(tmp_path / "project")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The test environment, run once: a simulated screen through all pipelines."""
    project = copy_project(tmp_path_factory.mktemp("run") / "project")
    # the simulated screen is raw data that a run writes: a folder of its own
    (project / "data" / "01_raw").unlink()
    (project / "data" / "01_raw").mkdir()
    done = kedro(project, "run", "--env", "test")
    assert done.code == 0, done.text
    return done
