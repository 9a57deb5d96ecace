"""What is hostile in an HDF5 file, told from its links and headers.

HDF5 follows links to other files, takes the bytes of a dataset from other files, and lets h5py make
Python objects of bytes. All links are walked as anndata would follow them, but no dataset is read.
Three limits end the walk of a file that has no end: links back, depth, and how many things there are.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sparseshift.screens.hostile.shapes import (
    ATTRIBUTES,
    Declared,
    absurd_size,
    array_size,
    contradictions,
)

if TYPE_CHECKING:
    import h5py

DEEPEST = 50
MOST_ITEMS = 100_000  # links and attributes; a large screen has some thousands
UNREADABLE = (OSError, RuntimeError, KeyError, TypeError, ValueError)  # what h5py raises


def h5ad_faults(file: "h5py.File") -> Iterator[str]:
    """Walk the file and tell what is hostile in it.

    - A link into another file or of an unknown type, or a soft link that is not a path of plain
      links in this file. A link back, or so many things that the walk would not end.
    - External storage, virtual datasets, filters that are not installed.
    - Types that become Python objects: references, opaque bytes, vectors of variable length.
      Variable strings are fine, and so are attributes that refer to objects which links reach, as
      the categories of anndata 0.7 do.
    - Shapes that `hostile.shapes` knows cannot be meant.

    Args:
        file: Open for reading.

    Yields:
        "where: what was found".
    """
    import h5py

    walk, sound = _Walk(file), True
    try:
        for fault in walk.item(h5py.h5o.open(file.id, b"/"), "", ()):
            sound = False
            yield fault
    except _EndlessError as error:
        yield f"{error}: here the walk had met {MOST_ITEMS} links and attributes, and was given up"
        return
    except UNREADABLE as error:
        yield f"/: cannot be opened ({error})"
        return
    yield from walk.stray_references()
    yield from absurd_size(walk.nodes, lambda _: file.id.get_filesize())
    if sound:  # else it may only look so because a part was refused
        yield from contradictions(walk.nodes)


class _EndlessError(Exception):
    """The walk goes on for too long; its text says where it stopped."""


class _Walk:
    """One walk over a file: what it has met so far."""

    def __init__(self, file: "h5py.File") -> None:
        self.nodes: dict[str, Declared] = {}
        self._root = file.id
        self._met: set[int] = set()  # addresses
        self._referred: list[tuple[str, int]] = []  # from where, to which address
        self._n_items = 0

    def item(self, item: Any, where: str, above: tuple[int, ...]) -> Iterator[str]:
        """Faults of a group, dataset or named type, and of all below it; `above` are addresses."""
        import h5py

        address = h5py.h5o.get_info(item).addr
        if address in above:
            yield f"{where}: a link back to a group that holds it"
            return
        if len(above) > DEEPEST:
            yield f"{where}: it lies in more than {DEEPEST} groups"
            return
        self._met.add(address)
        if isinstance(item, h5py.h5t.TypeID):
            return
        faults = self._of_attributes(item, where or "/")
        yield from faults
        if isinstance(item, h5py.h5d.DatasetID):
            yield from self._of_dataset(item, where)
            return
        readable = not faults  # h5py makes objects of some types when it reads an attribute
        self.nodes[where] = Declared(attributes=_attributes(item) if readable else {})
        yield from self._below(item, where, (*above, address))

    def stray_references(self) -> Iterator[str]:
        """Attributes that refer to what no link reaches: the walk has not seen it."""
        for where, address in self._referred:
            if address not in self._met:
                yield f"{where}: refers to an object that no link leads to"

    def _below(self, group: Any, where: str, above: tuple[int, ...]) -> Iterator[str]:
        self._count(group.get_num_objs(), where)
        for name in group:
            there = f"{where}/{name.decode(errors='replace')}".lstrip("/")
            try:
                found = _follow(self._root, group, name)
                if isinstance(found, str):
                    yield f"{there}: {found}"
                else:
                    yield from self.item(found, there, above)
            except UNREADABLE as error:
                yield f"{there}: cannot be opened ({error})"

    def _of_dataset(self, dataset: Any, where: str) -> Iterator[str]:
        import h5py

        layout = dataset.get_create_plist()
        # First: HDF5 opens the sources of a virtual dataset when asked for its shape.
        if layout.get_layout() == h5py.h5d.VIRTUAL:
            yield f"{where}: a virtual dataset, whose bytes are elsewhere{_source(layout)}"
            return
        if layout.get_external_count():
            file = _shown(layout.get_external(0)[0])
            yield f"{where}: external storage, whose bytes are in the file {file}"
            return
        kind = dataset.get_type()
        if fault := _type_fault(kind):
            yield f"{where}: {fault}"
        yield from (f"{where}: {fault}" for fault in _filter_faults(layout))
        chunked = layout.get_layout() == h5py.h5d.CHUNKED
        shape, chunks = dataset.shape, layout.get_chunk() if chunked else (0,)
        size = 0 if shape is None else array_size(shape, chunks, kind.get_size())
        self.nodes[where] = Declared(shape, size)

    def _of_attributes(self, item: Any, where: str) -> list[str]:
        import h5py

        count = h5py.h5a.get_num_attrs(item)
        self._count(count, where)
        faults = []
        for position in range(count):
            attribute = h5py.h5a.open(item, index=position)
            there = f"{where}@{_shown(attribute.name)}"
            kind = attribute.get_type()
            if kind.equal(h5py.h5t.STD_REF_OBJ):
                self._referred += [(there, to) for to in _addresses(attribute, self._root)]
            elif fault := _type_fault(kind):
                faults.append(f"{there}: {fault}")
        return faults

    def _count(self, more: int, where: str) -> None:
        self._n_items += more
        if self._n_items > MOST_ITEMS:
            raise _EndlessError(where or "/")


def _follow(root: Any, group: Any, name: bytes) -> Any:
    """What the link leads to, or why it is not followed."""
    import h5py
    from h5py import h5l

    kind = group.links.get_info(name).type
    if kind == h5l.TYPE_HARD:
        return h5py.h5o.open(group, name)
    if kind == h5l.TYPE_EXTERNAL:
        file, path = group.links.get_val(name)
        return f"an external link to {_shown(path)} in the file {_shown(file)}"
    if kind != h5l.TYPE_SOFT:
        return f"a link of the unknown type {kind}"
    path = group.links.get_val(name)
    return _plainly_reached(root, group, path) or (
        f"a soft link to {_shown(path)}, which is no path of plain links in this file"
    )


def _plainly_reached(root: Any, group: Any, path: bytes) -> Any | None:
    """The object at a path, by hard links only: HDF5 itself would pass through other files."""
    import h5py

    here = root if path.startswith(b"/") else group
    here = h5py.h5o.open(here, b"/" if path.startswith(b"/") else b".")
    for part in path.split(b"/"):
        if part in {b"", b"."}:
            continue
        if not isinstance(here, h5py.h5g.GroupID) or not here.links.exists(part):
            return None
        if here.links.get_info(part).type != h5py.h5l.TYPE_HARD:
            return None
        here = h5py.h5o.open(here, part)
    return here


def _type_fault(kind: Any) -> str | None:
    from h5py import h5t

    which = kind.get_class()
    if which == h5t.OPAQUE:
        # h5py believes a tag that says "NUMPY:|O", and takes the bytes for addresses in memory.
        return "opaque bytes, which h5py may turn into Python objects"
    if which == h5t.REFERENCE:
        return "references to other objects"
    if which == h5t.VLEN:
        return "vectors of variable length, which become Python objects"
    if which == h5t.ARRAY:
        return _type_fault(kind.get_super())
    if which == h5t.COMPOUND:
        members = (_type_fault(kind.get_member_type(i)) for i in range(kind.get_nmembers()))
        return next(filter(None, members), None)
    return None


def _filter_faults(layout: Any) -> Iterator[str]:
    import h5py

    for position in range(layout.get_nfilters()):
        number, _, _, name = layout.get_filter(position)
        if not h5py.h5z.filter_avail(number):
            yield (
                f"compressed with the HDF5 filter {number} {_shown(name)}, which is not installed "
                "here"
            )


def _addresses(attribute: Any, root: Any) -> Iterator[int]:
    import h5py
    import numpy as np

    references = np.empty(attribute.shape or (), dtype=attribute.dtype)
    if attribute.shape is not None:
        attribute.read(references)
    for reference in references.flat:
        if reference:  # neither a null reference, nor nothing
            yield h5py.h5o.get_info(h5py.h5r.dereference(reference, root)).addr


def _attributes(group: Any) -> dict[str, Any]:
    import h5py

    attributes = h5py.Group(group).attrs
    return {name: attributes[name] for name in ATTRIBUTES if name in attributes}


def _source(layout: Any) -> str:
    try:
        return f": in the file {_shown(layout.get_virtual_filename(0))}"
    except (OSError, RuntimeError, ValueError):  # it maps nothing
        return ""


def _shown(name: bytes | str) -> str:
    return repr(name.decode(errors="replace") if isinstance(name, bytes) else name)
