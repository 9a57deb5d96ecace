"""The values of `--runner-params`, checked before a cluster is touched."""

import os
from typing import Any

from sparseshift.errors import SparseshiftError, require_whole
from sparseshift.runners.faults import DaskRunnerError

ADDRESS_VARIABLE = "DASK_SCHEDULER_ADDRESS"


def require_distributed() -> None:
    """Whether distributed is there; an optional package."""
    # Read when distributed is imported, here and in worker processes; else they tell of every step.
    os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "warning")
    try:
        import distributed  # noqa: F401
    except ImportError as error:
        raise DaskRunnerError(
            'DaskRunner needs the package distributed: pip install "sparseshift[cluster]"'
        ) from error


def refuse_unknown(unknown: dict[str, Any], known: list[str]) -> None:
    """Names that are no parameters, with those there are."""
    if unknown:
        raise DaskRunnerError(
            f"DaskRunner has no parameter {', '.join(unknown)}; it has {', '.join(known)}."
        )


def find_address(address: str | None, local: dict[str, Any]) -> str | None:
    """The scheduler's address: the one given, else the environment's."""
    found = address or os.environ.get(ADDRESS_VARIABLE) or None
    given = [name for name, value in local.items() if value is not None]
    if found and given:
        source = "" if address else f" from {ADDRESS_VARIABLE}"
        raise DaskRunnerError(
            f"{', '.join(given)}: for workers on this machine, but the scheduler at {found}{source} "
            "has workers of its own. Leave out one or the other."
        )
    if found:
        _refuse_scheme(found)
    return found


def _refuse_scheme(address: Any) -> None:
    # Here, since a client that meets an unknown scheme cannot be closed.
    from distributed.comm.addressing import parse_address
    from distributed.comm.registry import get_backend

    try:
        get_backend(parse_address(address)[0])
    except (TypeError, ValueError) as error:
        raise DaskRunnerError(
            f"address={address!r} must be such as tcp://node-1:8786: {error}"
        ) from None


def whole(name: str, value: Any, least: int) -> int:
    """A whole number, `least` or more."""
    try:
        return require_whole(name, value, least)
    except SparseshiftError as error:
        raise DaskRunnerError(str(error)) from None


def yes_or_no(name: str, value: Any) -> bool | None:
    """True, false, or nothing said."""
    if value is None or isinstance(value, bool):
        return value
    raise DaskRunnerError(f"{name}={value!r} must be true or false.")


def seconds(name: str, value: Any) -> float:
    """A positive number."""
    if isinstance(value, (int, float)) and value > 0:
        return value
    raise DaskRunnerError(f"{name}={value!r} must be a positive number of seconds.")


def memory(name: str, value: Any) -> int:
    """Bytes of a worker, 0 for no limit."""
    from dask.utils import parse_bytes

    try:
        n_bytes = parse_bytes(value or 0)
    except (TypeError, ValueError):
        n_bytes = -1
    if n_bytes < 0:
        raise DaskRunnerError(f"{name}={value!r} must be a size such as 8GB, or 0 for no limit.")
    return n_bytes
