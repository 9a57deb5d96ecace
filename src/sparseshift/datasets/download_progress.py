"""How far a download is: a bar on a terminal, a log line now and then elsewhere."""

import logging
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, Self

LOG_EVERY = 10.0  # seconds

logger = logging.getLogger(__name__)


class Progress(Protocol):
    """Whatever wants to know how many bytes came; tqdm does."""

    def update(self, n: int) -> object:
        """Take note of `n` more bytes."""


def progress_of(
    name: str, done: int, total: int | None, *, shown: bool = True
) -> AbstractContextManager[Progress]:
    """A bar if stderr is a terminal, else log lines.

    Args:
        name: What is downloaded.
        done: Bytes that are there already.
        total: Bytes of the whole file, if known.
        shown: False for neither.
    """
    if not shown:
        return nullcontext(_Silence())
    if not sys.stderr.isatty():
        return LogLines(name, done, total)
    from tqdm import tqdm

    return tqdm(desc=name, initial=done, total=total, unit="B", unit_scale=True)


class LogLines:
    """A log line every ten seconds, and one when the bytes end."""

    def __init__(self, name: str, done: int, total: int | None) -> None:
        self._name, self._done, self._total = name, done, total
        self._last = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._log()

    def update(self, n: int) -> None:
        """Take note of `n` more bytes."""
        self._done += n
        if time.monotonic() - self._last >= LOG_EVERY:
            self._log()

    def _log(self) -> None:
        share = f" ({self._done / self._total:.0%})" if self._total else ""
        logger.info("%s: %s MB%s", self._name, f"{self._done / 1e6:,.1f}", share)
        self._last = time.monotonic()


class _Silence:
    def update(self, n: int) -> None:
        pass
