"""A published file in the catalog: downloaded at the first load, then kept."""

import logging
import os
from pathlib import Path
from typing import Any, NoReturn

from kedro.io.core import AbstractDataset, DatasetError, get_protocol_and_path

from sparseshift.datasets.checked_file import normal_hash
from sparseshift.errors import DownloadError, OptionError, require_whole

logger = logging.getLogger(__name__)


class PublishedFileDataset(AbstractDataset[object, Path]):
    """The local path of a file that others published; it is read only.

    Three places are tried: the file that an environment variable names, which is taken as it is
    and not copied; `filepath`; and `url`, from where it is downloaded to `filepath`. What lies at
    `filepath` must have the published size and hash.

    Example:
        ```yaml
        published_screen:
          type: sparseshift.datasets.PublishedFileDataset
          filepath: data/01_raw/screen.h5ad
          url: https://example.org/files/screen.h5ad
          known_hash: md5:0123456789abcdef0123456789abcdef
          size: 1048576
          citation: Author et al. (2024), doi:10.1234/5678
          variable: SPARSESHIFT_SCREEN
        ```
    """

    def __init__(
        self,
        *,
        filepath: str | os.PathLike[str],
        url: str,
        citation: str,
        known_hash: str | None = None,
        size: int | None = None,
        variable: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Describe the file; nothing is read or downloaded yet.

        Args:
            filepath: Where it is kept, on a local filesystem.
            url: Where it is published, http or https.
            citation: Whom to cite for it.
            known_hash: "md5:" or "sha256:" and hexadecimal digits, as published. Without it the
                sha256 of the first file seen is recorded beside it, and holds from then on.
            size: Bytes, as published.
            variable: Name of an environment variable that may name a file to use instead, also
                one that was packed anew or cut.
            metadata: For plugins; Kedro does not read it.

        Raises:
            DatasetError: `filepath` is remote, or `known_hash` or `size` is none.
        """
        protocol, path = get_protocol_and_path(filepath)
        if protocol != "file":
            raise DatasetError(
                f"A published file is kept in a local folder, and {filepath} is on '{protocol}'."
            )
        try:
            self._known_hash = normal_hash(known_hash)
            self._size = None if size is None else require_whole("size", size, 1)
        except OptionError as error:
            raise DatasetError(f"{filepath}: {error}") from error
        self._path = Path(path).expanduser()
        self._url = url
        self._citation = citation
        self._variable = variable
        self.metadata = metadata

    def load(self) -> Path:
        """Return where the file is, after a download if it is nowhere yet.

        Raises:
            DatasetError: The environment variable names no file, the file at `filepath` is not
                the published one, or the download failed.
        """
        if own := self._own():
            if not own.is_file():
                raise DatasetError(
                    f"{self._variable} is {str(own)!r}, and there is no file. Correct it, or unset "
                    f"it to use {self._path}, which is downloaded from {self._url} if missing."
                )
            logger.info("%s from %s is used instead of %s.", own, self._variable, self._url)
            return own
        # Imported here because reading a catalog downloads nothing.
        from sparseshift.datasets.download import fetch

        if not self._path.exists():
            logger.info("%s is published by: %s", self._path.name, self._citation)
        try:
            return fetch(self._url, self._path, known_hash=self._known_hash, size=self._size)
        except DownloadError as error:
            raise DatasetError(f"{error}{self._way_out()}") from error

    def save(self, data: object) -> NoReturn:
        """Refuse: others published the file.

        Raises:
            DatasetError: Always.
        """
        raise DatasetError(
            f"A {type(data).__name__} cannot be saved to {self._path}: it is a copy of {self._url} "
            "and read-only. Save to another catalog entry."
        )

    def _own(self) -> Path | None:
        named = os.environ.get(self._variable, "") if self._variable else ""
        return Path(named).expanduser() if named else None

    def _way_out(self) -> str:
        if not self._variable:
            return ""
        return f" Or set {self._variable}=/path/to/file to use a file that you have."

    def _exists(self) -> bool:
        return (self._own() or self._path).is_file()

    def _describe(self) -> dict[str, Any]:
        return {
            "filepath": self._path.as_posix(),
            "url": self._url,
            "known_hash": self._known_hash,
            "size": self._size,
            "citation": self._citation,
            "variable": self._variable,
        }
