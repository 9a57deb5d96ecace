"""Worker pools of Kedro's runners that stop when the run is stopped.

Kedro 1.7 waits at an interruption for every node that it has handed to the pool, finished or not
begun. It also starts spawned workers without the project's settings, hence without its hooks.
"""

import logging
import signal
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import suppress
from types import TracebackType

from kedro.framework.project import LOGGING, settings
from kedro.runner import AbstractRunner

from sparseshift.hooks.faults import hide_repeated_texts

logger = logging.getLogger(__name__)


class StoppablePool:
    """A pool that drops waiting nodes and ends worker processes on an interruption.

    Args:
        executor: the pool.
        on_stop: called first, to close what must be closed.
        leave: called once the workers are ended. In a command it ends the process: an executor whose
            threads are in the middle of handing out a large task may never come to an end.
    """

    def __init__(
        self,
        executor: Executor,
        on_stop: Callable[[], None],
        leave: Callable[[BaseException], None] = lambda _error: None,
    ) -> None:
        self._executor = executor
        self._on_stop = on_stop
        self._leave = leave

    def __enter__(self) -> Executor:
        return self._executor.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        if kind is not None and not issubclass(kind, Exception):
            self._on_stop()
            if isinstance(self._executor, ProcessPoolExecutor):
                _end_workers(self._executor)
                self._leave(error or kind())
            else:
                logger.warning("Waiting for the nodes that run: a thread cannot be stopped.")
            self._executor.shutdown(wait=True, cancel_futures=True)
        return self._executor.__exit__(kind, error, trace)


def _end_workers(executor: ProcessPoolExecutor, patience_s: float = 5.0) -> None:
    processes = list(executor._processes.values())
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(patience_s)
        if process.is_alive():
            process.kill()
    # A task larger than the pipe's buffer may be half written, with nobody left to read it: without
    # a reader the write fails and the executor's threads end; else they wait for ever.
    queue = getattr(executor, "_call_queue", None)
    if queue is not None:
        with suppress(OSError):  # the executor's thread, seeing its workers end, may be closing it
            queue._reader.close()


def make_stoppable(
    runner: AbstractRunner,
    package: str,
    quiet: bool,
    on_stop: Callable[[], None],
    leave: Callable[[BaseException], None],
) -> None:
    """Let a runner use such pools, with workers that know the project `package`."""
    make_executor = runner._get_executor

    def get_executor(max_workers: int) -> StoppablePool | None:
        executor = make_executor(max_workers)
        if executor is None:
            return None
        if isinstance(executor, ProcessPoolExecutor):
            executor._initializer = start_worker
            executor._initargs = (package, quiet)
        return StoppablePool(executor, on_stop, leave)

    runner._get_executor = get_executor  # type: ignore[method-assign, assignment]


def start_worker(package: str, quiet: bool) -> None:
    """First call in a worker process: the project's settings, and no signals of its own."""
    # Ctrl-C reaches the workers too; the main process decides. A forked worker has inherited its
    # handler for SIGTERM, which would keep it alive.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # Not configure_project: with its PACKAGE_NAME set, Kedro configures the logging of a spawned
    # worker by itself, which recurses without end.
    settings.configure(f"{package}.settings")
    LOGGING.set_project_logging(package)
    if quiet:
        hide_repeated_texts()
