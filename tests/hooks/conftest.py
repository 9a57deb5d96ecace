"""A miniature project, run by the real command in processes of its own."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

KEDRO = Path(sys.executable).with_name("kedro")
PATIENCE = 120


def open_store(project: Path) -> Any:
    """A client of the project's database; MLflow takes seconds to import."""
    from mlflow.tracking import MlflowClient

    return MlflowClient(f"sqlite:///{project / 'mlflow.db'}")


@dataclass
class Outcome:
    """What a run printed and left behind."""

    project: Path
    code: int
    text: str
    process_group: int

    @cached_property
    def client(self) -> Any:
        return open_store(self.project)

    @property
    def runs(self) -> list[Any]:
        """All runs, the oldest first."""
        experiment = self.client.get_experiment_by_name("sparseshift")
        return self.client.search_runs([experiment.experiment_id], order_by=["start_time"])

    @property
    def parents(self) -> list[Any]:
        return [run for run in self.runs if "mlflow.parentRunId" not in run.data.tags]

    def children(self, parent: Any = None) -> dict[str, Any]:
        parent_id = (parent or self.parents[0]).info.run_id
        return {
            run.info.run_name: run
            for run in self.runs
            if run.data.tags.get("mlflow.parentRunId") == parent_id
        }

    def states(self) -> dict[str, str]:
        return {run.info.run_name: run.info.status for run in self.runs}

    def artifacts(self, run: Any, folder: str | None = None) -> set[str]:
        found = self.client.list_artifacts(run.info.run_id, folder)
        files = {file.path for file in found if not file.is_dir}
        return files.union(*(self.artifacts(run, file.path) for file in found if file.is_dir))

    def read(self, run: Any, artifact: str) -> str:
        return Path(self.client.download_artifacts(run.info.run_id, artifact)).read_text()


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with data and an empty database, whose migrations take seconds."""
    project = tmp_path_factory.mktemp("template") / "project"
    shutil.copytree(Path(__file__).with_name("mini_project"), project)
    (project / "data").mkdir()
    (project / "data" / "screen.csv").write_text("gene\nA\nB\nC\nD\n")
    open_store(project).search_experiments()
    return project


def run_kedro(
    project: Path,
    options: str = "",
    environment: dict[str, str] | None = None,
    stop: signal.Signals | None = None,
) -> Outcome:
    """Run `kedro run` with these options; `stop` is sent as soon as a node sleeps."""
    inherited = {
        key: text for key, text in os.environ.items() if not key.startswith(("PYTEST", "MLFLOW"))
    }
    with (project / "log.txt").open("w+") as log:
        process = subprocess.Popen(
            [str(KEDRO), "run", *shlex.split(options)],
            cwd=project,
            env=inherited | {"COLUMNS": "400"} | (environment or {}),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        if stop:
            while process.poll() is None and not list(project.glob("*.asleep")):
                time.sleep(0.05)
            if stop == signal.SIGINT:
                os.killpg(process.pid, stop)  # as Ctrl-C in a terminal does
            else:
                process.send_signal(stop)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        log.seek(0)
        return Outcome(project, process.returncode, log.read(), process.pid)


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """A background job of a shell ignores SIGINT, and so would every process started here."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def kedro() -> Callable[..., Outcome]:
    """A function that runs `kedro run` in a project and waits."""
    return run_kedro


@pytest.fixture(scope="session")
def launch(
    template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., dict[str, Future[Outcome]]]]:
    """A function that starts runs by name, two at a time, each in its own copy of the project."""

    def run(name: str, arguments: dict[str, Any]) -> Outcome:
        project = tmp_path_factory.mktemp(name) / "project"
        shutil.copytree(template, project)
        return run_kedro(project, **arguments)

    with ThreadPoolExecutor(2) as pool:
        yield lambda scenarios: {
            name: pool.submit(run, name, arguments) for name, arguments in scenarios.items()
        }
