"""What the catalog can hold beyond Kedro's own: screens, figures, trained models, and files as paths.

The classes are fetched at first use, so that a catalog without figures never pays for Matplotlib.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparseshift.datasets.anndata import AnnDataDataset
    from sparseshift.datasets.directory import ModelDataset
    from sparseshift.datasets.figure import FigureDataset
    from sparseshift.datasets.local_file import LocalFileDataset
    from sparseshift.datasets.published_file import PublishedFileDataset

__all__ = [
    "AnnDataDataset",
    "FigureDataset",
    "LocalFileDataset",
    "ModelDataset",
    "PublishedFileDataset",
]

_MODULES = {
    "AnnDataDataset": "anndata",
    "FigureDataset": "figure",
    "LocalFileDataset": "local_file",
    "ModelDataset": "directory",
    "PublishedFileDataset": "published_file",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
