"""sparseshift: causal representations of single cells from perturbation screens.

Each perturbation is a stochastic intervention that shifts an unknown, sparse subset of latent
variables. See `fit`, `fit_seeds`, `load`, `simulate`, `check_screen`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sparseshift._version import __version__

if TYPE_CHECKING:
    from sparseshift.api import fit, fit_seeds, load, simulate
    from sparseshift.errors import OptionError, ScreenError, SparseshiftError, TrainingError
    from sparseshift.fitted_factors import FittedFactors
    from sparseshift.fitted_model import FittedModel
    from sparseshift.screens.check import check_screen
    from sparseshift.screens.columns import Columns

_HOMES = {
    "Columns": "sparseshift.screens.columns",
    "FittedFactors": "sparseshift.fitted_factors",
    "FittedModel": "sparseshift.fitted_model",
    "OptionError": "sparseshift.errors",
    "ScreenError": "sparseshift.errors",
    "SparseshiftError": "sparseshift.errors",
    "TrainingError": "sparseshift.errors",
    "check_screen": "sparseshift.screens.check",
    "fit": "sparseshift.api",
    "fit_seeds": "sparseshift.api",
    "load": "sparseshift.api",
    "simulate": "sparseshift.api",
}

__all__ = [
    "Columns",
    "FittedFactors",
    "FittedModel",
    "OptionError",
    "ScreenError",
    "SparseshiftError",
    "TrainingError",
    "__version__",
    "check_screen",
    "fit",
    "fit_seeds",
    "load",
    "simulate",
]


def __getattr__(name: str) -> Any:
    # lazy: `kedro --help` imports this package and must not wait for torch
    if name not in _HOMES:
        raise AttributeError(f"module 'sparseshift' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
