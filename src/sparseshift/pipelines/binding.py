"""Fixing an argument of a node function where Kedro can still read its types."""

from collections.abc import Callable
from functools import partial
from typing import Any


def bind(function: Callable[..., Any], **fixed: Any) -> Callable[..., Any]:
    """A partial that keeps the function's name, doc and annotations.

    Kedro validates parameters by the annotations of a node's function, and names it in kedro-viz;
    a bare partial has neither.
    """
    bound = partial(function, **fixed)
    for attribute in ("__name__", "__doc__", "__annotations__", "__module__"):
        setattr(bound, attribute, getattr(function, attribute))
    return bound
