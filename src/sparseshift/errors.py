"""What a person can put right. The command line shows these without a traceback."""

from operator import index
from typing import Any


class SparseshiftError(Exception):
    """A fault whose text says what was found, where, and what to do about it."""


class ScreenError(SparseshiftError, ValueError):
    """A screen that cannot be used as it is: wrong columns, labels or counts."""


class OptionError(SparseshiftError, ValueError):
    """An option or parameter that does not exist or has an impossible value."""


class TrainingError(SparseshiftError, RuntimeError):
    """Training cannot go on: a term of the objective is not finite."""


class DownloadError(SparseshiftError, RuntimeError):
    """A published file that did not come, or a local one that is not the published one."""


def require_whole(name: str, value: Any, least: int) -> int:
    """The value as an int; numpy integers pass.

    Raises:
        OptionError: it is not a whole number, or less than `least`.
    """
    try:
        whole = index(value)
    except TypeError:
        raise OptionError(f"{name}={value!r} must be a whole number.") from None
    if whole < least:
        raise OptionError(f"{name}={value} must be at least {least}.")
    return whole
