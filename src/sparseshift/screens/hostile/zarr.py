"""What is hostile in a zarr store, told from its folders and JSON documents.

Groups are listed, arrays are not: those of a large store hold millions of chunks. What hides there,
such as a chunk that is a symbolic link, is refused by `hostile.zarr_store` when it is asked for.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from stat import S_ISREG

from sparseshift.screens.hostile.shapes import Declared, absurd_size, contradictions
from sparseshift.screens.hostile.zarr_documents import DOCUMENTS, LARGEST, judge

DEEPEST = 50
MOST_FOLDERS = 50_000


def zarr_faults(root: Path) -> Iterator[str]:
    """Walk the groups of a store and tell what is hostile in it.

    - Symbolic links, wherever they lead.
    - Codecs not known to hold plain data (pickle runs code), and objects that are no strings.
    - Consolidated metadata that name something outside the store.
    - Shapes that `hostile.shapes` knows cannot be meant.

    Args:
        root: Folder of the store; it may itself be a symbolic link.

    Yields:
        "where: what was found".
    """
    walk, sound = _Walk(), True
    for fault in walk.folder(root, "", 0):
        sound = False
        yield fault
    yield from absurd_size(walk.nodes, lambda enough: _stored(root, enough))
    if sound:  # else it may only look so because a part was refused
        yield from contradictions(walk.nodes)


def document_in(path: Path) -> tuple[bytes | None, str]:
    """The content of a JSON document, if there is one, or why it is not read."""
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None, ""
    if not S_ISREG(status.st_mode):
        return None, f"{path.name} is a symbolic link or otherwise no plain file"
    if status.st_size > LARGEST:
        return None, f"{path.name} has {status.st_size} bytes; at most {LARGEST} are read"
    return path.read_bytes(), ""


class _Walk:
    """One walk over a store: what it has met so far."""

    def __init__(self) -> None:
        self.nodes: dict[str, Declared] = {}
        self._n_folders = 0

    def folder(self, folder: Path, where: str, depth: int) -> Iterator[str]:
        """Faults of a folder and of all below it."""
        self._n_folders += 1
        if self._n_folders > MOST_FOLDERS or depth > DEEPEST:
            if self._n_folders == MOST_FOLDERS + 1 or depth == DEEPEST + 1:
                yield f"{where}: the store has no end: over {MOST_FOLDERS} folders or {DEEPEST} levels"
            return
        found = 0
        for name in DOCUMENTS:
            content, fault = document_in(folder / name)
            if fault:
                yield f"{where or '/'}: {fault}"
            if content is not None:
                found += 1
                yield from self._document(where, name, content)
        node = self.nodes.get(where, Declared())
        # A folder without documents is a chunk folder, or nothing that zarr would look at.
        if found and node.shape is None:
            yield from self._members(folder, where, depth)

    def _document(self, where: str, name: str, content: bytes) -> Iterator[str]:
        for judgement in judge(where, name, content):
            yield from (f"{judgement.where or '/'}: {fault}" for fault in judgement.faults)
            self._note(judgement.where, judgement.declared)

    def _note(self, where: str, declared: Declared) -> None:
        # Consolidated metadata repeat what is said at the place itself: the larger counts.
        known = self.nodes.get(where, Declared())
        larger = max(known, declared, key=lambda node: node.size)
        self.nodes[where] = Declared(
            larger.shape if larger.shape is not None else known.shape,
            larger.size,
            {**known.attributes, **declared.attributes},
        )

    def _members(self, folder: Path, where: str, depth: int) -> Iterator[str]:
        with os.scandir(folder) as members:
            for member in members:
                there = f"{where}/{member.name}".lstrip("/")
                if member.is_symlink() and member.name not in DOCUMENTS:
                    yield f"{there}: a symbolic link to {str(Path(member.path).readlink())!r}"
                elif member.is_dir(follow_symlinks=False):
                    yield from self.folder(Path(member.path), there, depth + 1)


def _stored(root: Path, enough: int) -> int:
    total, folders = 0, [str(root)]
    while folders and total < enough:
        with os.scandir(folders.pop()) as members:
            for member in members:
                if member.is_dir(follow_symlinks=False):
                    folders.append(member.path)
                else:
                    total += _size_of(member)
                if total >= enough:
                    break
    return total


def _size_of(file: os.DirEntry[str]) -> int:
    return file.stat(follow_symlinks=False).st_size
