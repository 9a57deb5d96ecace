"""A zarr store that hands out nothing but plain files within its folder, and judged documents.

`hostile.zarr` looks at groups before anything is read, but lists no chunks. So each file is looked
at here, when zarr asks for it: a chunk may be a symbolic link, an array may hide in another array.
"""

import stat
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from zarr.storage import LocalStore

from sparseshift.errors import ScreenError
from sparseshift.screens.hostile.zarr_documents import DOCUMENTS, LARGEST, judge


class GuardedStore(LocalStore):
    """A local store, read only, that raises `ScreenError` rather than leave its folder."""

    async def get(self, key: str, *args: Any, **kwargs: Any) -> Any:
        """Read a file that has been judged."""
        self._judge(key)
        return await super().get(key, *args, **kwargs)

    def get_sync(self, key: str, **kwargs: Any) -> Any:
        """Read a file that has been judged."""
        self._judge(key)
        return super().get_sync(key, **kwargs)

    async def get_partial_values(
        self, prototype: Any, key_ranges: Iterable[tuple[str, Any]]
    ) -> list[Any]:
        """Read parts of files that have been judged."""
        ranges = list(key_ranges)
        for key, _ in ranges:
            self._judge(key)
        return await super().get_partial_values(prototype, ranges)

    def _judge(self, key: str) -> None:
        here, mode, size = Path(self.root), stat.S_IFDIR, 0
        parts = PurePosixPath(key).parts
        if ".." in parts or "/" in parts:
            raise ScreenError(f"{self.root}: {key!r} lies outside the store.")
        for part in parts:
            here /= part
            try:
                status = here.lstat()
            except (FileNotFoundError, NotADirectoryError):
                return
            mode, size = status.st_mode, status.st_size
            if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
                raise ScreenError(
                    f"{self.root}: {key} is a symbolic link or otherwise no plain file. A store "
                    "must hold its files itself: write it with adata.write_zarr(path)."
                )
        if stat.S_ISREG(mode) and here.name in DOCUMENTS:
            self._judge_document(here, size)

    def _judge_document(self, path: Path, size: int) -> None:
        if size > LARGEST:
            raise ScreenError(f"{path} has {size} bytes; at most {LARGEST} are read.")
        where = path.parent.relative_to(self.root).as_posix()
        for judgement in judge(where, path.name, path.read_bytes()):
            for fault in judgement.faults:
                raise ScreenError(
                    f"{self.root}: {judgement.where}: {fault}. Ask where the store comes from; "
                    "write it with adata.write_zarr(path)."
                )
