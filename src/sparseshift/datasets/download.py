"""Download one published file: checked, resumed after a break, under its name whole or not at all.

pooch takes the checksum and gives the file its name; `Resuming` brings the bytes.
"""

import errno
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sparseshift.datasets.checked_file import check, expected_hash, record_of, remember
from sparseshift.datasets.resuming import Resuming
from sparseshift.errors import DownloadError

_FULL = {errno.ENOSPC, errno.EDQUOT}

logger = logging.getLogger(__name__)


def fetch(
    url: str,
    target: Path,
    *,
    known_hash: str | None = None,
    size: int | None = None,
    progress: bool = True,
    pause: float = 2.0,
) -> Path:
    """Return `target`, downloaded from `url` if it is not there.

    A file that is there is never replaced or deleted: it is checked, and refused if it is not the
    published one. A break, Ctrl-C too, leaves what came in the hidden `.NAME.part`, and the next
    call goes on from there. Of several processes that want the same file, one downloads it.

    Without a published hash the sha256 of the first file seen is recorded in `NAME.sha256`, and
    holds from then on. Later calls compare size and time of change only (`checked_file`).

    Args:
        url: http or https.
        target: Where to keep the file. Missing parent folders are made.
        known_hash: "md5:" or "sha256:" and hexadecimal digits.
        size: Of the published file, bytes.
        progress: Whether to show how far it is: a bar on a terminal, else a log line every 10 s.
        pause: Seconds before the second try, doubled before each further one.

    Raises:
        DownloadError: The file did not come, there is no room for it, or what is there or came is
            not the published one.
        OptionError: `known_hash` is no hash.
    """
    expected = expected_hash(target, known_hash)
    if target.is_symlink() and not target.exists():
        raise DownloadError(
            f"{target} is a link to {target.readlink()}, and nothing is there. Bring that back, or "
            "delete the link to have the file downloaded."
        )
    downloader = Resuming(
        target, size=size, has_hash=expected is not None, progress=progress, pause=pause
    )
    if not target.exists():
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with _one_at_a_time(target):
                if not target.exists():
                    _retrieve(url, target, expected, downloader)
        except OSError as error:
            raise _unwritable(url, target, downloader, error) from error
    check(target, url, known_hash=known_hash, size=size)
    downloader.forget()
    return target


def _retrieve(url: str, target: Path, expected: str | None, downloader: Resuming) -> None:
    import pooch

    pooch.get_logger().setLevel("WARNING")  # it says less than the lines here
    logger.info("Downloading %s to %s.", url, target)
    for is_last in (False, True):
        downloader.resumed = False
        try:
            pooch.retrieve(
                url, expected, fname=target.name, path=target.parent, downloader=downloader
            )
            break
        except ValueError as error:  # another checksum
            downloader.forget()
            if is_last or not downloader.resumed:
                raise _wrong_checksum(url, target, expected, error) from error
            logger.warning("%s was resumed to a wrong checksum. Starting over.", url)
    if expected is not None:
        remember(target, expected)


@contextmanager
def _one_at_a_time(target: Path) -> Iterator[None]:
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    path = target.with_name(f".{target.name}.lock")
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.info("Waiting for another process, which is downloading %s.", target)
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError:  # a filesystem without locks
            pass
        yield
        # Only after success: who waits for this very lock then finds the file.
        path.unlink(missing_ok=True)


def _wrong_checksum(
    url: str, target: Path, expected: str | None, error: ValueError
) -> DownloadError:
    cure = f"Try again later, or download it by hand from {url} and put it at {target}."
    if expected == expected_hash(target, None):
        cure += f" If it was published anew, delete {record_of(target)}: it has the former hash."
    return DownloadError(f"{url} gave something else than the published file: {error} {cure}")


def _unwritable(url: str, target: Path, downloader: Resuming, error: OSError) -> DownloadError:
    if error.errno not in _FULL:
        return DownloadError(
            f"{url} cannot be written to {target}: {error}. Make the folder writable, or correct "
            "the filepath."
        )
    needed = f"{downloader.total:,}" if downloader.total else "an unknown number of"
    free = shutil.disk_usage(target.parent).free
    return DownloadError(
        f"The disk of {target.parent} is full: {url} needs {needed} bytes, {downloader.have:,} are "
        f"there, and {free:,} are free. Free some space and run again, which goes on from there, "
        "or correct the filepath."
    )
