"""A person's own file in the catalog, as a path: for nodes that read only parts of it."""

import os
from pathlib import Path
from typing import Any, NoReturn

from kedro.io.core import AbstractDataset, DatasetError, get_protocol_and_path


class LocalFileDataset(AbstractDataset[NoReturn, Path]):
    """The path of a local file or folder; it is read only.

    Example:
        ```yaml
        mine.source:
          type: sparseshift.datasets.LocalFileDataset
          filepath: /path/to/screen.h5ad
        ```
    """

    def __init__(
        self, *, filepath: str | os.PathLike[str], metadata: dict[str, Any] | None = None
    ) -> None:
        """Describe the file; nothing is read yet.

        Args:
            filepath: Of an h5ad file or a zarr store, on a local filesystem.
            metadata: For plugins; Kedro does not read it.

        Raises:
            DatasetError: `filepath` is remote.
        """
        protocol, path = get_protocol_and_path(filepath)
        if protocol != "file":
            raise DatasetError(
                f"{filepath} is on '{protocol}': a file that is read in parts must be local. Copy it "
                "to a local folder."
            )
        self._path = Path(path).expanduser()
        self.metadata = metadata

    def load(self) -> Path:
        """Where the file is.

        Raises:
            DatasetError: There is none.
        """
        if not self._path.exists():
            raise DatasetError(
                f"There is no file {self._path}. Correct the filepath in the catalog."
            )
        return self._path

    def save(self, data: object) -> NoReturn:
        """Refuse: the file is a person's own.

        Raises:
            DatasetError: Always.
        """
        raise DatasetError(
            f"A {type(data).__name__} cannot be saved to {self._path}, which is read only. Save to "
            "another catalog entry."
        )

    def _exists(self) -> bool:
        return self._path.exists()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._path.as_posix()}
