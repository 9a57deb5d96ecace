"""Bring one file over HTTP, and go on after a break with the bytes that came before it.

The bytes go to `.NAME.part`. Beside it `.NAME.part.json` says from where they came and which
version of the file they belong to (its ETag or date), because the rest must be of the same one.
"""

import json
import logging
import os
import re
import shutil
import time
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from sparseshift.datasets.checked_file import foreign_start
from sparseshift.datasets.download_progress import progress_of
from sparseshift.errors import DownloadError

if TYPE_CHECKING:
    from requests import Response

TRIES = 4  # in a row without a new byte
TIMEOUT = (30.0, 60.0)  # seconds: to connect, and between two bytes
CHUNK = 1 << 16
_BUSY = {408, 425, 429}  # and 5xx: worth another try
_WEB_PAGES = ("text/html", "application/xhtml+xml")

logger = logging.getLogger(__name__)


class Resuming:
    """A downloader for `pooch.retrieve`.

    Attributes:
        part: Where the bytes are kept until all are there.
        total: Bytes of the whole file, once known.
        resumed: Whether the file was put together from more than one answer.
    """

    def __init__(
        self, target: Path, *, size: int | None, has_hash: bool, progress: bool, pause: float
    ) -> None:
        """Say what is wanted; nothing is asked yet.

        Args:
            target: What the file will be called.
            size: Of the published file, bytes.
            has_hash: Whether a checksum will show it if parts of two files were put together.
            progress: Whether to show how far it is.
            pause: Seconds before the second try, doubled before each further one.
        """
        self.part = target.with_name(f".{target.name}.part")
        self.total = size
        self.resumed = False
        self._origin = self.part.with_name(f"{self.part.name}.json")
        self._target, self._size, self._has_hash = target, size, has_hash
        self._progress, self._pause = progress, pause

    def __call__(self, url: str, output_file: str, _pooch: object = None) -> None:
        """Download `url` and put it where pooch wants it.

        Raises:
            DownloadError: The server refuses, sends something else or cannot be reached, or the
                disk is too small.
            OSError: The bytes cannot be written.
        """
        self._bring(url)
        Path(output_file).unlink(missing_ok=True)
        try:
            # A second name, not a move: pooch deletes its file at Ctrl-C, also during the checksum.
            os.link(self.part, output_file)
        except OSError:  # a filesystem without hard links
            self.part.rename(output_file)

    def forget(self) -> None:
        """Remove what was kept for resuming."""
        for path in (self.part, self._origin):
            # Asked first: a read-only filesystem refuses to delete even what is not there.
            if path.exists():
                path.unlink(missing_ok=True)

    @property
    def have(self) -> int:
        """Bytes that are there."""
        return self.part.stat().st_size if self.part.exists() else 0

    def _bring(self, url: str) -> None:
        furthest, fruitless = self.have, 0
        while True:
            try:
                return self._ask(url)
            except _PassingError as fault:
                fruitless = 1 if self.have > furthest else fruitless + 1
                furthest = max(furthest, self.have)
                if fruitless == TRIES:
                    raise self._refusal(url, f"{fault}, {TRIES} times in a row") from fault
                wait = self._pause * 2 ** (fruitless - 1)
                logger.warning("%s %s. Trying again in %g s.", url, fault, wait)
                time.sleep(wait)

    def _ask(self, url: str) -> None:
        import requests
        from urllib3.exceptions import HTTPError

        if self._size is not None and self.have >= self._size:
            if self.have == self._size:
                self.resumed = True
                return
            self.forget()
        # Not compressed: the checksum and the ranges are of the file as it is published.
        headers = {"Accept-Encoding": "identity", **self._range(url)}
        passing = (requests.ConnectionError, requests.Timeout, HTTPError)
        try:
            with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
                self._take(url, response)
        except passing as error:
            raise _PassingError(f"broke off or was not reached ({_innermost(error)})") from error
        except requests.RequestException as error:
            raise self._refusal(url, f"could not be asked for ({error})") from error

    def _range(self, url: str) -> dict[str, str]:
        if not self.have:
            return {}
        origin: dict[str, str] = {}
        with suppress(OSError, ValueError):
            origin = json.loads(self._origin.read_text())
        asked = {"Range": f"bytes={self.have}-"}
        if origin.get("url") == url and origin.get("version"):
            return {**asked, "If-Range": origin["version"]}
        return asked if self._has_hash else {}  # nothing else would show a mixture

    def _take(self, url: str, response: "Response") -> None:
        self._refuse_other_answers(url, response)
        if response.status_code == 416 and self._is_whole(response):
            self.total = self.have
            self.resumed = True
            return
        start, self.total = self._extent(url, response)
        self._refuse_small_disk(url, start)
        chunks = response.raw.stream(CHUNK, decode_content=False)
        if start:
            self.resumed = True
        else:
            first = next(chunks, b"")
            self._refuse_foreign(url, response, first)
            chunks = chain([first], chunks)
            self._begin(url, response)
        progress = progress_of(self._target.name, start, self.total, shown=self._progress)
        with self.part.open("ab") as file, progress as bar:
            for chunk in chunks:
                file.write(chunk)
                bar.update(len(chunk))
            file.flush()
            os.fsync(file.fileno())
        if self.total is not None and self.have != self.total:
            raise _PassingError(f"sent {self.have:,} of {self.total:,} bytes")

    def _refuse_other_answers(self, url: str, response: "Response") -> None:
        status = f"answered {response.status_code} {response.reason}"
        if response.status_code >= 500 or response.status_code in _BUSY:
            raise _PassingError(status)
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        came = f"{status} with {kind or 'nothing that is named'}"
        if response.status_code == 202:
            came += ", as servers do that first want to see a browser"
        if response.status_code not in {200, 206, 416}:
            raise self._refusal(url, came)
        if kind in _WEB_PAGES and self._target.suffix not in {".html", ".htm"}:
            raise self._refusal(url, f"{came}: a web page instead of the file")

    def _is_whole(self, response: "Response") -> bool:
        return response.headers.get("Content-Range") == f"bytes */{self.have}"

    def _extent(self, url: str, response: "Response") -> tuple[int, int | None]:
        """The offset of the first byte that comes, and the size of the whole file if stated."""
        stated = response.headers.get("Content-Length", "")
        start, total = 0, int(stated) if stated.isdecimal() else None
        if response.status_code != 200:
            said = response.headers.get("Content-Range", "")
            found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", said)
            if not found or int(found[1]) != self.have:
                wanted = self.have
                self.forget()
                raise _PassingError(
                    f"was asked for the bytes from {wanted} on and answered "
                    f"{response.status_code} with Content-Range {said!r}, so it starts over"
                )
            start, total = self.have, None if found[2] == "*" else int(found[2])
        if None not in (total, self._size) and total != self._size:
            raise self._refusal(
                url, f"has {total:,} bytes there, and the published file {self._size:,} bytes"
            )
        return start, self._size if total is None else total

    def _refuse_small_disk(self, url: str, start: int) -> None:
        folder = self.part.parent
        # A download that starts over first gives back what is there.
        missing = (self.total or 0) - start - (0 if start else self.have)
        free = shutil.disk_usage(folder).free
        if missing > free:
            raise DownloadError(
                f"{url} needs {missing:,} more bytes in {folder}, and the disk there has "
                f"{free:,} free. Free some space and run again, or keep the file elsewhere: "
                "correct its filepath."
            )

    def _refuse_foreign(self, url: str, response: "Response", first: bytes) -> None:
        fault = foreign_start(self._target.name, first) if first else "an empty answer"
        if fault:
            status = f"{response.status_code} {response.reason}"
            raise self._refusal(url, f"answered {status} with {fault}")

    def _begin(self, url: str, response: "Response") -> None:
        self.forget()
        etag = response.headers.get("ETag", "")
        weak = etag.startswith("W/")  # may not be used in If-Range
        version = response.headers.get("Last-Modified") if weak or not etag else etag
        self._origin.write_text(json.dumps({"url": url, "version": version}))

    def _refusal(self, url: str, what: str) -> DownloadError:
        kept = (
            f" The {self.have:,} bytes that came are kept for the next try." if self.have else ""
        )
        return DownloadError(
            f"{url} {what}.{kept} Try again later, or download it by hand from {url} and put it "
            f"at {self._target}."
        )


class _PassingError(Exception):
    """A fault that may be gone at the next try."""


def _innermost(error: BaseException) -> BaseException:
    """The system's own words, which requests and urllib3 wrap several times."""
    from urllib3.exceptions import HTTPError

    while isinstance(error.__context__, OSError | HTTPError):
        error = error.__context__
    return error
