"""A trained model in the catalog: a folder that the model writes and `sparseshift.api` reads."""

import os
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from kedro.io.core import AbstractDataset, DatasetError, get_protocol_and_path

from sparseshift.datasets.atomic import is_vacant, replaced

MARKER = "model.json"


@runtime_checkable
class Savable(Protocol):
    """Whatever can write itself into a folder."""

    def save(self, path: Path) -> object:
        """Write into the folder `path`, which exists and is empty."""


class ModelDataset(AbstractDataset[Savable, Any]):
    """A folder with a trained model, replaced as a whole at each save.

    A folder counts as a model only if it has a `model.json`.

    Example:
        ```yaml
        model:
          type: sparseshift.datasets.ModelDataset
          filepath: data/06_models/model
        ```
    """

    def __init__(
        self, *, filepath: str | os.PathLike[str], metadata: dict[str, Any] | None = None
    ) -> None:
        """Describe where the folder lies; nothing is read yet.

        Args:
            filepath: A folder on a local filesystem.
            metadata: For plugins; Kedro does not read it.

        Raises:
            DatasetError: If `filepath` is remote.
        """
        protocol, path = get_protocol_and_path(filepath)
        if protocol != "file":
            raise DatasetError(
                f"A model is saved to a local folder, and {filepath} is on '{protocol}'."
            )
        self._path = Path(path).expanduser()
        self.metadata = metadata

    def load(self) -> Any:
        """Return the model that `sparseshift.api.load` reads from the folder.

        Raises:
            DatasetError: If the folder holds no model.
        """
        if not self._exists():
            raise DatasetError(
                f"There is no model at {self._path}: no {MARKER} in it. Run the pipeline that "
                "trains it, or correct the filepath in the catalog."
            )
        # Imported here because it brings torch, which reading a catalog does not need.
        return import_module("sparseshift.api").load(self._path)

    def save(self, data: Savable) -> None:
        """Let the model write itself into a fresh folder, which then takes the old one's place.

        Raises:
            DatasetError: If something that is no model is in the way, or none was written.
        """
        if not (is_vacant(self._path) or self._exists()):
            raise DatasetError(
                f"{self._path} exists and is no model (no {MARKER} in it), so it will not be "
                "replaced. Move it away, or correct the filepath in the catalog."
            )
        with replaced(self._path) as folder:
            folder.mkdir()
            data.save(folder)
            if not (folder / MARKER).is_file():
                raise DatasetError(
                    f"{type(data).__name__}.save wrote no {MARKER}; {self._path} is as it was."
                )

    def _exists(self) -> bool:
        return (self._path / MARKER).is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._path.as_posix()}
