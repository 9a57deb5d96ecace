"""A Kedro session whose runs end cleanly: errors a person can read, exit codes, no stray workers.

To be named in settings.py as SESSION_CLASS.
"""

import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

import click
from kedro.framework.session import KedroSession

from sparseshift.hooks.faults import advice, hide_repeated_texts
from sparseshift.hooks.mlflow import MLflowHook
from sparseshift.hooks.workers import make_stoppable

TRACEBACK_VARIABLE = "SPARSESHIFT_TRACEBACK"
INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM

STOPPED = (
    "Stopped. Finished outputs are kept. On a first run the same command with --only-missing-outputs "
    "goes on from there; where outputs of an earlier run exist, it takes those: run anew instead."
)

logger = logging.getLogger(__name__)


class SparseshiftSession(KedroSession):
    """`KedroSession` for the command line; in a notebook errors are raised as they are."""

    def run(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Run a pipeline; see `KedroSession.run`."""
        quiet = _speaks_to_a_person()
        if kwargs.get("runner") is not None:
            package = self._package_name or ""
            make_stoppable(kwargs["runner"], package, quiet, self._abort_tracking, _leave)
        show_texts = hide_repeated_texts() if quiet else lambda: None
        with _sigterm_stops():
            try:
                return super().run(*args, **kwargs)
            except BaseException as error:
                self._abort_tracking()
                if _is_stop(error):
                    logger.warning(STOPPED)
                raise
            finally:
                show_texts()

    def __exit__(self, exc_type: Any, exc_value: Any, tb_: Any) -> None:
        super().__exit__(exc_type, exc_value, tb_)
        if isinstance(exc_value, KeyboardInterrupt) and _in_command():
            raise SystemExit(INTERRUPTED) from None
        if isinstance(exc_value, Exception) and _speaks_to_a_person():
            text = advice(exc_value)
            if text:
                hint = f"({TRACEBACK_VARIABLE}=1 shows the traceback.)"
                raise click.ClickException(f"{text}\n{hint}") from None

    def _abort_tracking(self) -> None:
        for plugin in self._hook_manager.get_plugins():
            if isinstance(plugin, MLflowHook):
                plugin.abort()


def _leave(error: BaseException) -> None:
    """Ends a command's process at once, its child processes too; elsewhere does nothing."""
    if not _in_command():
        return
    logger.warning(STOPPED)
    for child in multiprocessing.active_children():
        child.terminate()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(INTERRUPTED if isinstance(error, KeyboardInterrupt) else TERMINATED)


def _in_command() -> bool:
    return click.get_current_context(silent=True) is not None


def _speaks_to_a_person() -> bool:
    return _in_command() and not os.environ.get(TRACEBACK_VARIABLE)


def _is_stop(error: BaseException) -> bool:
    return isinstance(error, KeyboardInterrupt) or (
        isinstance(error, SystemExit) and error.code == TERMINATED
    )


@contextmanager
def _sigterm_stops() -> Iterator[None]:
    """Let SIGTERM end the run by an exception, so that files and runs are closed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if previous is None else previous)


def _stop(_signal: int, _frame: FrameType | None) -> NoReturn:
    # Once: a second one would break off the closing.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(TERMINATED)
