"""What the catalog can hold beyond Kedro's own: screens, figures and trained models.

The classes are fetched at first use, so that a catalog without figures never pays for Matplotlib.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparseshift.datasets.anndata import AnnDataDataset
    from sparseshift.datasets.directory import ModelDataset
    from sparseshift.datasets.figure import FigureDataset

__all__ = ["AnnDataDataset", "FigureDataset", "ModelDataset"]

_MODULES = {"AnnDataDataset": "anndata", "FigureDataset": "figure", "ModelDataset": "directory"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
