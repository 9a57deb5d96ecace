"""AnnData in the catalog, as .h5ad or .zarr: saved whole or not at all, and cheap to look at.

anndata and h5py are imported by the methods that need them: Kedro imports this module whenever it
reads a catalog, also for `kedro registry list`.
"""

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar

import fsspec
from fsspec.implementations.local import LocalFileSystem
from kedro.io.core import (
    AbstractVersionedDataset,
    DatasetError,
    Version,
    get_filepath_str,
    get_protocol_and_path,
)

# Kedro-Viz picks the renderer by the name of preview()'s return annotation. So this file does not
# postpone annotations, and the name must stay bare: "_typing.JSONPreview" would show nothing.
from kedro_datasets._typing import JSONPreview

from sparseshift.datasets.atomic import is_vacant, replaced, sweep_versions
from sparseshift.datasets.opened_anndata import damage_reported, opened_h5ad, opened_zarr

if TYPE_CHECKING:
    import anndata
    import pandas as pd

FORMATS = ("h5ad", "zarr")
_ZARR_ROOTS = (".zgroup", "zarr.json")  # formats 2 and 3


class AnnDataDataset(AbstractVersionedDataset["anndata.AnnData", "anndata.AnnData"]):
    """An AnnData object in an .h5ad file or a .zarr store.

    A local save is atomic: a process killed in the middle leaves the former file. Remote files go
    through a temporary local copy, as HDF5 cannot be streamed. A file that would read other files or
    run code is refused before anything of it is read. The dataset keeps no file open and
    can be pickled. A MemoryDataset would deep-copy an AnnData; so persist large ones, or give
    `copy_mode: assign`.

    Example:
        ```yaml
        screen:
          type: sparseshift.datasets.AnnDataDataset
          filepath: data/03_primary/screen.h5ad
        ```
    """

    DEFAULT_SAVE_ARGS: ClassVar[dict[str, dict[str, Any]]] = {
        "h5ad": {"compression": "gzip"},
        "zarr": {},
    }

    def __init__(  # noqa: PLR0913
        self,
        *,
        filepath: str | os.PathLike[str],
        file_format: str | None = None,
        backed: str | None = None,
        load_args: dict[str, Any] | None = None,
        save_args: dict[str, Any] | None = None,
        version: Version | None = None,
        credentials: dict[str, Any] | None = None,
        fs_args: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Describe where the AnnData lies; nothing is read yet.

        Args:
            filepath: Where; a protocol such as `s3://` in front makes it remote.
            file_format: "h5ad" or "zarr"; by default what the ending of `filepath` says.
            backed: "r" leaves X in the (local, h5ad) file until a node asks for it.
            load_args: Further arguments of `anndata.io.read_h5ad` or `read_zarr`.
            save_args: Further arguments of `anndata.io.write_h5ad` or `write_zarr`.
            version: Kedro's; set by `versioned: true`.
            credentials: Of the remote filesystem.
            fs_args: Further arguments of the fsspec filesystem.
            metadata: For plugins; Kedro does not read it.

        Raises:
            DatasetError: If the format is unknown, or `backed` cannot work there.
        """
        protocol, path = get_protocol_and_path(filepath, version)
        options = {**deepcopy(fs_args or {}), **deepcopy(credentials or {})}
        if protocol == "file":
            options.setdefault("auto_mkdir", True)
        self._protocol = protocol
        self._fs = fsspec.filesystem(protocol, **options)
        self._is_local = isinstance(self._fs, LocalFileSystem)
        self._format = _format_of(path, file_format)
        self._backed = backed
        self._load_args = load_args or {}
        self._save_args = {**self.DEFAULT_SAVE_ARGS[self._format], **(save_args or {})}
        self.metadata = metadata
        super().__init__(
            filepath=PurePosixPath(path),
            version=version,
            exists_function=self._fs.exists,
            glob_function=self._fs.glob,
        )
        self._refuse_impossible_backing()

    def load(self) -> "anndata.AnnData":
        """Read the AnnData, whole or (`backed: r`) without its X.

        Raises:
            DatasetError: If there is no such file, or it is not a sound one of this format, or
                reading it would do harm (see `sparseshift.screens.file_guard`).
        """
        from anndata.io import read_h5ad, read_zarr

        path = self._existing_path()
        with self._fetched(path) as local:
            if self._format == "zarr":
                with opened_zarr(path, local) as group:
                    return read_zarr(group, **self._load_args)
            # Judged first, and closed: anndata opens it by itself.
            with opened_h5ad(path, local):
                pass
            with damage_reported(path):
                return read_h5ad(local, backed=self._backed, **self._load_args)

    def save(self, data: "anndata.AnnData") -> None:
        """Write the AnnData in place of what is there, at once.

        Raises:
            DatasetError: If `data` is backed by the very file that it would replace, or if a
                folder that is no zarr store is in the way.
        """
        # Not data.write_h5ad: that turns a backed object over to the temporary name.
        from anndata.io import write_h5ad, write_zarr

        path = get_filepath_str(self._get_save_path(), self._protocol)
        self._refuse_to_overwrite(path, data)
        with self._stored(path) as local:
            try:
                (write_zarr if self._format == "zarr" else write_h5ad)(
                    local, data, **self._save_args
                )
            except FileNotFoundError as exc:
                # Kedro would take it for a clash of a versioned with an unversioned dataset.
                raise DatasetError(f"Failed while saving data to {path}: {exc}") from exc
        self._invalidate_cache()

    def preview(self) -> JSONPreview:
        """Summarise shape, layers and annotation columns as JSON for Kedro-Viz; X is not read.

        Raises:
            DatasetError: If there is no sound file, or reading it would do harm, or it is a
                remote zarr store.
        """
        from anndata.io import read_elem

        path = self._existing_path()
        if self._format == "zarr" and not self._is_local:
            raise DatasetError(f"No preview of the remote zarr store {path}: load it instead.")
        with self._opened(path) as group, damage_reported(path):
            obs, var = read_elem(group["obs"]), read_elem(group["var"])
            layers = group.get("layers", {})
            summary = {
                "n_obs": len(obs),
                "n_vars": len(var),
                "layers": {
                    name: str(layers[name].attrs.get("encoding-type", "array"))
                    for name in sorted(layers)
                },
                "obs": {str(column): _summary(obs[column]) for column in obs},
                "var": {str(column): _summary(var[column]) for column in var},
            }
        return JSONPreview(json.dumps(summary, allow_nan=False))

    def _describe(self) -> dict[str, Any]:
        return {
            "filepath": self._filepath,
            "protocol": self._protocol,
            "file_format": self._format,
            "backed": self._backed,
            "load_args": self._load_args,
            "save_args": self._save_args,
            "version": self._version,
        }

    def _exists(self) -> bool:
        return self._is_there(get_filepath_str(self._get_load_path(), self._protocol))

    def _release(self) -> None:
        super()._release()
        self._invalidate_cache()

    def _invalidate_cache(self) -> None:
        self._fs.invalidate_cache(get_filepath_str(self._filepath, self._protocol))

    def _is_there(self, path: str) -> bool:
        # A folder alone does not count: `name.h5ad/` may hold versions, and anyone can mkdir.
        if self._format == "zarr":
            return any(self._fs.exists(f"{path}/{root}") for root in _ZARR_ROOTS)
        return bool(self._fs.isfile(path))

    def _existing_path(self) -> str:
        path = get_filepath_str(self._get_load_path(), self._protocol)
        if not self._is_there(path):
            what = "AnnData zarr store" if self._format == "zarr" else "h5ad file"
            raise DatasetError(
                f"There is no {what} at {path}. Run the node that saves it, or correct the "
                "filepath in the catalog."
            )
        return path

    @contextmanager
    def _fetched(self, path: str) -> Iterator[Path]:
        if self._is_local:
            yield Path(path).expanduser()
            return
        with TemporaryDirectory() as folder:
            local = Path(folder, PurePosixPath(path).name)
            self._fs.get(path, str(local), recursive=self._format == "zarr")
            yield local

    @contextmanager
    def _stored(self, path: str) -> Iterator[Path]:
        if self._is_local:
            if self._version:
                sweep_versions(Path(self._filepath).expanduser())
            with replaced(Path(path).expanduser()) as local:
                yield local
            return
        with TemporaryDirectory() as folder:
            local = Path(folder, PurePosixPath(path).name)
            yield local
            is_folder = self._format == "zarr"
            if is_folder and self._fs.exists(path):  # chunks of the former would mix with these
                self._fs.rm(path, recursive=True)
            self._fs.put(str(local), path, recursive=is_folder)

    @contextmanager
    def _opened(self, path: str) -> Iterator[Any]:
        local = Path(path).expanduser()
        if self._format == "zarr":
            with opened_zarr(path, local) as group:
                yield group
        elif self._is_local:
            with opened_h5ad(path, local) as file:
                yield file
        else:
            with self._fs.open(path, "rb") as source, opened_h5ad(path, source) as file:
                yield file

    def _refuse_impossible_backing(self) -> None:
        if self._backed not in {None, "r"}:
            raise DatasetError(f"backed must be 'r' or left out, not {self._backed!r}.")
        if self._backed and self._format == "zarr":
            raise DatasetError(
                f"backed: r works for h5ad only, and {self._filepath} is zarr. Leave `backed` out "
                "to read it whole, or save it as .h5ad."
            )
        if self._backed and not self._is_local:
            raise DatasetError(
                f"backed: r needs a local file, and {self._filepath} is on "
                f"'{self._protocol}'. Leave `backed` out, or copy the file to a local folder."
            )

    def _refuse_to_overwrite(self, path: str, data: "anndata.AnnData") -> None:
        if not self._is_local:
            return
        target = Path(path).expanduser()
        if data.isbacked and Path(data.filename).resolve() == target.resolve():
            raise DatasetError(
                f"This AnnData still reads its X from {path} and cannot be saved onto it. Return "
                "data.to_memory() from the node, or save to another catalog entry."
            )
        if self._format == "zarr" and not (is_vacant(target) or self._is_there(path)):
            raise DatasetError(
                f"{path} exists and is no zarr store, so it will not be replaced. Move it away, "
                "or correct the filepath in the catalog."
            )
        # Kedro notices this for files only; here the versions would lie inside the old store.
        if self._version and self._format == "zarr" and self._is_there(self._filepath.as_posix()):
            raise DatasetError(
                f"{self._filepath} is a zarr store without versions. Move the store into a "
                f"version folder, {self._filepath}/VERSION/{self._filepath.name}, or away."
            )


def _format_of(path: str, stated: str | None) -> str:
    name = stated if stated is not None else PurePosixPath(path).suffix.removeprefix(".")
    if name not in FORMATS:
        source = "file_format" if stated is not None else f"the ending of {path}"
        raise DatasetError(
            f"{source} is {name!r}; allowed are {', '.join(FORMATS)}. Set file_format to one of "
            "these or rename the file."
        )
    return name


def _summary(column: "pd.Series") -> dict[str, Any]:
    present = column.dropna()
    example = present.iloc[0] if len(present) else None
    example = getattr(example, "item", lambda: example)()
    # JSON has no NaN or infinity, and the browser's parser is strict about it.
    if not isinstance(example, bool | int | float | None) or (
        isinstance(example, float) and not math.isfinite(example)
    ):
        example = str(example)
    return {"dtype": str(column.dtype), "unique": int(column.nunique()), "example": example}
