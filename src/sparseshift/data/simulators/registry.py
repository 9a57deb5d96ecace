"""The simulators by name, and what each can be told."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from sparseshift.data.simulators.default import default
from sparseshift.data.simulators.paper import paper
from sparseshift.data.simulators.simulation import Simulation
from sparseshift.errors import OptionError

_SIMULATORS: dict[str, Callable[..., Simulation]] = {"paper": paper, "default": default}


def draw(name: str, seed: int, settings: Mapping[str, Any]) -> Simulation:
    """A screen of the simulator of this name.

    Raises:
        OptionError: an unknown simulator or setting, or an impossible value.
    """
    check_names(name, settings)
    return _SIMULATORS[name](np.random.default_rng(seed), **settings)


def check_names(name: str, settings: Mapping[str, Any]) -> None:
    """Whether there is such a simulator with such settings.

    Raises:
        OptionError: there is not; the message lists what there is.
    """
    if name not in _SIMULATORS:
        raise OptionError(
            f"There is no simulator {name!r}. The simulators are: {', '.join(_SIMULATORS)}."
        )
    parameters = inspect.signature(_SIMULATORS[name]).parameters.values()
    known = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    if unknown := sorted(set(settings) - set(known)):
        raise OptionError(
            f"simulate: unknown {', '.join(unknown)}. Known to {name!r}: {', '.join(known)}."
        )
