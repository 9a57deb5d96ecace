"""What a dask worker does: enter the project of a `kedro run`, then run a node of it."""

import logging
import os
import pickle
import signal
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Any

from kedro.framework.hooks.manager import _create_hook_manager, _register_hooks
from kedro.framework.project import LOGGING, settings
from kedro.runner.task import Task

from sparseshift.errors import SparseshiftError
from sparseshift.hooks.faults import hide_repeated_texts
from sparseshift.hooks.mlflow import MLflowHook

LONGEST_ERROR = 1_000_000

_entering = Lock()


@dataclass(frozen=True)
class Job:
    """What a worker must know of a `kedro run`.

    Args:
        run_id: Kedro's name of the run.
        package: the project's package, None outside a project.
        folder: where the run was started; relative paths begin there.
        environment: variables by which the MLflow hook finds the run.
        quiet: leave the texts of errors to the process that started the run.
        is_async: load and save datasets in threads.
    """

    run_id: str | None
    package: str | None
    folder: str
    environment: tuple[tuple[str, str], ...]
    quiet: bool
    is_async: bool


def run_node(job: Job, packed: bytes) -> None:
    """Run a node, which is sent as bytes together with a catalog of its datasets.

    As bytes, so that the scheduler need not import what the node imports, and the worker not
    before the settings limit the threads of numerical libraries.

    Raises:
        SparseshiftError: The worker does not see the project's folder.
    """
    with _entering:
        hook_manager = _enter(job)
    node, catalog = pickle.loads(packed)
    # Not parallel=True: Kedro would configure the logging of a spawned process by itself, which
    # recurses without end.
    Task(node, catalog, job.is_async, hook_manager, job.run_id).execute()


def dask_setup(_worker: Any) -> None:
    """Called by dask in each worker of a local cluster, which shares a terminal with the run."""
    # Ctrl-C reaches the workers too; the main process decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The run prints every error; dask would print it once more at each try, on one long line.
    logging.getLogger("distributed.worker").setLevel(logging.CRITICAL)
    logging.getLogger("distributed.worker.memory").setLevel(logging.WARNING)


@lru_cache(maxsize=1)
def _enter(job: Job) -> Any:
    """The project's settings, and hooks that know this run; a worker may outlive many runs."""
    import dask

    try:
        os.chdir(job.folder)
    except OSError as error:
        raise SparseshiftError(
            f"The worker on {os.uname().nodename} does not see {job.folder} ({error.strerror}). "
            "Every worker needs the project's folder under the same path: a shared file system."
        ) from error
    if job.package:
        settings.configure(f"{job.package}.settings")
        LOGGING.set_project_logging(job.package)
    if job.quiet:
        hide_repeated_texts()
    # A longer traceback would not be sent at all.
    dask.config.set({"distributed.admin.max-error-length": LONGEST_ERROR})
    # Not the hooks of plugins, which need the session around them: kedro-viz warns of every dataset.
    hook_manager = _create_hook_manager()
    _register_hooks(hook_manager, settings.HOOKS)
    for plugin in hook_manager.get_plugins():
        if isinstance(plugin, MLflowHook):
            plugin.abort()  # in a worker: forget the run before
    os.environ.update(job.environment)
    return hook_manager
