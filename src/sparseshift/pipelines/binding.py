"""Fixing an argument of a node function where Kedro can still read its types."""

from collections.abc import Callable
from inspect import Signature, signature
from typing import Any


class bind:  # noqa: N801 used as a function
    """The function with some arguments fixed, and with its name, doc and types.

    Kedro validates parameters by the annotations of a node's function and shows its name and source;
    `functools.partial` has none of them, and loses what is put on it on the way to another process.
    """

    def __init__(self, function: Callable[..., Any], **fixed: Any) -> None:
        self.function = function
        self.fixed = fixed
        self.__wrapped__ = function
        self.__name__ = function.__name__
        self.__doc__ = function.__doc__
        self.__annotations__ = function.__annotations__
        self.__signature__ = _without(signature(function), set(fixed))

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        """Calls the function with the node's inputs and the fixed arguments."""
        return self.function(*inputs, **named, **self.fixed)


def _without(full: Signature, fixed: set[str]) -> Signature:
    return full.replace(parameters=[p for p in full.parameters.values() if p.name not in fixed])
