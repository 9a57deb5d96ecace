"""Whether a local file is the published one; it is hashed once, then only looked at.

Hashing gigabytes at every load would take longer than the load. So the hash is remembered in a
hidden sibling `.NAME.checked.json`, with the size and the time of change that the file had, and
taken again only if one of these is another. Where no hash is published, the first one seen is
written to `NAME.sha256` (as sha256sum does) and holds from then on.
"""

import hashlib
import json
import logging
import re
from contextlib import suppress
from pathlib import Path

from sparseshift.datasets.atomic import replaced
from sparseshift.errors import DownloadError, OptionError

_HASH = re.compile(r"(?:md5:[0-9a-f]{32}|sha256:[0-9a-f]{64})")
_RECORD = re.compile(r"([0-9a-f]{64})\s.*", re.DOTALL)
_HDF5 = b"\x89HDF\r\n\x1a\n"

logger = logging.getLogger(__name__)


def normal_hash(known_hash: str | None) -> str | None:
    """The hash in small letters.

    Args:
        known_hash: "md5:" or "sha256:" and hexadecimal digits, or nothing.

    Raises:
        OptionError: It is something else.
    """
    small = known_hash and known_hash.strip().lower()
    if small is not None and not _HASH.fullmatch(small):
        raise OptionError(
            f"known_hash={known_hash!r} must be 'md5:' and 32, or 'sha256:' and 64 hexadecimal "
            "digits."
        )
    return small


def record_of(path: Path) -> Path:
    """Where the hash of a file is recorded if none is published."""
    return path.with_name(f"{path.name}.sha256")


def expected_hash(path: Path, known_hash: str | None) -> str | None:
    """The published hash, else the one recorded beside the file, else nothing.

    Raises:
        DownloadError: The record holds no hash.
        OptionError: `known_hash` is none.
    """
    record = record_of(path)
    if known_hash is not None or not record.exists():
        return normal_hash(known_hash)
    text = record.read_text(errors="replace").strip().lower()
    if found := _RECORD.fullmatch(f"{text} "):
        return f"sha256:{found[1]}"
    raise DownloadError(
        f"{record} should begin with the 64 digits of a sha256, and begins with {text[:20]!r}. "
        "Delete it to have the hash recorded anew."
    )


def check(path: Path, url: str, *, known_hash: str | None = None, size: int | None = None) -> None:
    """Refuse a local file that is not the published one; it is never changed.

    Where no hash is known, the file's own is recorded, and the file is held to it from then on.

    Args:
        path: The local file.
        url: Where the published one is.
        known_hash: "md5:" or "sha256:" and hexadecimal digits.
        size: Of the published file, bytes.

    Raises:
        DownloadError: The size or the hash is another, or an .h5ad file is no HDF5 file.
        OptionError: `known_hash` is no hash.
    """
    if not path.is_file():
        raise DownloadError(f"{path} is no file. Move it away to have {url} downloaded there.")
    found_size = path.stat().st_size
    if size is not None and found_size != size:
        raise _another(path, url, f"{found_size:,} bytes", f"{size:,} bytes")
    expected = expected_hash(path, known_hash)
    found = hash_of(path, (expected or "sha256").partition(":")[0])
    if expected is None:
        _record_first(path, url, found)
    elif found != expected:
        raise _another(path, url, found, expected, recorded=known_hash is None)


def hash_of(path: Path, algorithm: str) -> str:
    """The file's hash, "md5:..." or "sha256:...", remembered as long as the file stays as it is."""
    look = _look(path)
    with suppress(OSError, ValueError, LookupError, AttributeError, TypeError):
        memory = json.loads(_memory_of(path).read_text())
        found = str(memory.pop("hash"))
        if memory == look and found.startswith(f"{algorithm}:"):
            return found
    logger.info("Taking the %s of %s, this once.", algorithm, path)
    with path.open("rb") as file:
        found = f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}"
    _remember(path, look, found)
    return found


def remember(path: Path, found: str) -> None:
    """Keep a hash that was taken of the file as it is now, "md5:..." or "sha256:..."."""
    _remember(path, _look(path), found)


def foreign_start(name: str, start: bytes) -> str | None:
    """What is wrong with the first bytes of a file of this name, or nothing.

    Only .h5ad is judged: an HDF5 file begins with eight bytes that no web page begins with.
    """
    if Path(name).suffix != ".h5ad" or start.startswith(_HDF5):
        return None
    what = "a web page" if start.lstrip().startswith(b"<") else "no HDF5 file"
    return f"{what}: it begins with {start[:20]!r}"


def _record_first(path: Path, url: str, found: str) -> None:
    with path.open("rb") as file:
        fault = foreign_start(path.name, file.read(64))
    if fault:
        raise DownloadError(
            f"{path} is {fault}. It is left as it is: delete it to download {url} anew."
        )
    digits = found.partition(":")[2]
    _write_if_allowed(record_of(path), f"{digits}  {path.name}\n")


def _look(path: Path) -> dict[str, int]:
    stat = path.stat()
    return {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns}


def _memory_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.checked.json")


def _remember(path: Path, look: dict[str, int], found: str) -> None:
    _write_if_allowed(_memory_of(path), json.dumps({**look, "hash": found}) + "\n")


def _write_if_allowed(path: Path, text: str) -> None:
    # In a read-only folder nothing is remembered, and the file is hashed at each load.
    with suppress(OSError), replaced(path) as temporary:
        temporary.write_text(text)


def _another(
    path: Path, url: str, found: str, expected: str, *, recorded: bool = False
) -> DownloadError:
    if recorded:
        return DownloadError(
            f"{path} has changed: it has {found}, and {record_of(path)} says {expected}. It is "
            f"left as it is: delete it to download {url} anew, or delete the record to accept it."
        )
    return DownloadError(
        f"{path} has {found}, and the published file ({url}) has {expected}. It is left as it "
        "is: delete it to download the published one."
    )
