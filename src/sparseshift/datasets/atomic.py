"""Save a file or a folder whole or not at all.

A save that is killed half-way must leave what was there before: a stump under the final name would
count as done when the run is resumed. So the writer works on a hidden sibling named
`.NAME.PID-RANDOM.tmp`, which takes the final name in one rename once it is complete and on the
disk. What a killed process leaves bears its process id and goes with the next save of that name.
"""

import ctypes
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from secrets import token_hex

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # fcntl.h and linux/fs.h

_in_the_making: set[Path] = set()


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling of `path`; it becomes `path` if the block ends without an error.

    The block may make a file or a folder there. After any exception, Ctrl-C too, `path` is as it
    was and the temporary is gone. A symbolic link stays one: what it points to is replaced.

    Linux swaps two folders in one step. Where the system or the filesystem (NFS) cannot, two
    renames follow each other; a kill just between them leaves the former folder under its `.old`
    name, and the next save puts it back first.

    Args:
        path: What to replace, on a local filesystem. Missing parent folders are made.
    """
    target = path.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    sweep(target)
    temporary = target.with_name(f".{target.name}.{os.getpid()}-{token_hex(4)}.tmp")
    _in_the_making.add(temporary)
    try:
        yield temporary
        _flush(temporary)
        if temporary.is_dir() and target.exists():
            _exchange(temporary, target)
        else:
            temporary.replace(target)
    finally:
        _remove(temporary)
        _in_the_making.discard(temporary)


def is_vacant(path: Path) -> bool:
    """Tell whether there is nothing at `path`, or just an empty folder."""
    return not path.exists() or (path.is_dir() and not any(path.iterdir()))


def sweep(target: Path) -> bool:
    """Remove what killed processes left of saves of `target`; tell whether there was anything."""
    name = re.compile(rf"\.{re.escape(target.name)}\.(\d+)-[0-9a-f]+\.(tmp|old)")
    swept = False
    for leftover in target.parent.glob(f".{escape(target.name)}.*"):
        found = name.fullmatch(leftover.name)
        if not found or _is_being_written(leftover, int(found[1])):
            continue
        swept = True
        if found[2] == "old" and not target.exists():
            leftover.rename(target)
        else:
            _remove(leftover)
    return swept


def sweep_versions(path: Path) -> None:
    """Sweep every version folder of a Kedro dataset at `path`: each version is saved only once."""
    for folder in path.glob("*/"):
        if sweep(folder / path.name):
            with suppress(OSError):  # a version that was saved whole stays
                folder.rmdir()


def _is_being_written(temporary: Path, pid: int) -> bool:
    # In a container the killed process often had the very id that this one has.
    if pid == os.getpid():
        return temporary.with_suffix(".tmp") in _in_the_making
    if os.name != "posix":  # there, os.kill ends the process whatever the signal
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _flush(path: Path) -> None:
    for file in [path] if path.is_file() else path.rglob("*"):
        if file.is_file():
            with file.open("rb+") as handle:
                os.fsync(handle.fileno())


def _exchange(new: Path, old: Path) -> None:
    try:
        swap = ctypes.CDLL(None).renameat2
        paths = _AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(old)
        done = swap(*paths, _RENAME_EXCHANGE) == 0
    except (AttributeError, OSError, TypeError):  # no such call here
        done = False
    if not done:
        aside = new.with_suffix(".old")
        old.rename(aside)
        try:
            new.rename(old)
        except BaseException:
            aside.rename(old)
            raise
        aside.rename(new)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
