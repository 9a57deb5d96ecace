"""Laws of `fetch`: the published file or a fault in words, whatever the server does."""

import errno
import hashlib
import logging
import os
import re
import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sparseshift.datasets import download_progress, resuming
from sparseshift.datasets.download import fetch
from sparseshift.errors import DownloadError, OptionError

BODY = b"\x89HDF\r\n\x1a\n" + bytes(range(256)) * 1200
OTHER = BODY[::-1]
MD5 = "md5:" + hashlib.md5(BODY).hexdigest()
SHA256 = "sha256:" + hashlib.sha256(BODY).hexdigest()
PAGE = b"<!DOCTYPE html><title>Log in</title>"
HALF = 1 << 17  # bytes, whole chunks
NOTHING: Mapping[str, str] = {}
HTML = {"Content-Type": "text/html; charset=utf-8"}

Answer = Callable[[BaseHTTPRequestHandler], None]


def answer(
    body: bytes = b"",
    headers: Mapping[str, str] = NOTHING,
    *,
    status: int = 200,
    sent: int | None = None,
) -> Answer:
    """Answer with `body`, but end after `sent` bytes."""

    def write(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body[:sent])

    return write


def ranged(body: bytes = BODY, headers: Mapping[str, str] = NOTHING) -> Answer:
    """Answer as a server does that knows ranges."""

    def write(request: BaseHTTPRequestHandler) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        version = request.headers.get("If-Range")
        if not asked or (version and version not in headers.values()):
            return answer(body, headers)(request)
        start, size = int(asked[1]), len(body)
        if start >= size:
            return answer(headers={"Content-Range": f"bytes */{size}"}, status=416)(request)
        extent = {"Content-Range": f"bytes {start}-{size - 1}/{size}"}
        return answer(body[start:], {**headers, **extent}, status=206)(request)

    return write


class Site:
    """A server that answers as told: one answer after the other, the last one for ever."""

    def __init__(self) -> None:
        self.answers: list[Answer] = [ranged()]
        self.asked: list[str | None] = []  # the Range of each request
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append(self.headers.get("Range"))
                site.headers = dict(self.headers)
                site.answers[min(len(site.asked), len(site.answers)) - 1](self)

            def log_message(self, *_: object) -> None:
                pass

        self.headers: dict[str, str] = {}
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/screen.h5ad"

    def says(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked.clear()


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    site = Site()
    thread = threading.Thread(target=site.server.serve_forever, args=[0.005])
    thread.start()
    yield site
    site.server.shutdown()
    thread.join()
    site.server.server_close()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "new" / "screen.h5ad"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != ".screen.h5ad.lock")


def part(target: Path) -> Path:
    return target.with_name(f".{target.name}.part")


def get(site: Site, target: Path, **options: Any) -> Path:
    return fetch(site.url, target, **{"known_hash": MD5, "pause": 0.001, **options})


def fault(site: Site, target: Path, **options: Any) -> str:
    """What the refusal says; nothing may lie under the final name."""
    with pytest.raises(DownloadError) as caught:
        get(site, target, **options)
    assert not target.exists()
    return str(caught.value)


def by_hand(site: Site, target: Path) -> str:
    return f"download it by hand from {site.url} and put it at {target}."


def ctrl_c(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def interrupted(site: Site, target: Path, **options: Any) -> None:
    """Ctrl-C when half of the bytes came."""
    left = HALF

    def update(_: object, n: int) -> None:
        nonlocal left
        left -= n
        if left <= 0:
            ctrl_c()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(download_progress.LogLines, "update", update)
        with pytest.raises(KeyboardInterrupt):
            get(site, target, **options)
    assert not target.exists()
    assert part(target).read_bytes() == BODY[:HALF]
    site.asked.clear()


@pytest.mark.parametrize("known_hash", [MD5, SHA256, SHA256.upper().replace("SHA", "sha")])
def test_downloads_once_and_leaves_only_the_file(
    site: Site, target: Path, known_hash: str
) -> None:
    for _ in range(2):
        assert get(site, target, known_hash=known_hash, size=len(BODY)) == target
        assert target.read_bytes() == BODY
    assert site.asked == [None]
    assert site.headers["Accept-Encoding"] == "identity"
    assert names(target.parent) == [".screen.h5ad.checked.json", "screen.h5ad"]
    assert not target.with_name(".screen.h5ad.lock").exists()


def test_the_file_has_the_usual_rights(site: Site, target: Path) -> None:
    get(site, target)
    (target.parent / "usual").touch()
    assert target.stat().st_mode == (target.parent / "usual").stat().st_mode
    assert target.stat().st_nlink == 1


def test_without_a_published_hash_the_first_one_holds(site: Site, target: Path) -> None:
    get(site, target, known_hash=None)
    record = target.with_name("screen.h5ad.sha256")
    assert record.read_text() == f"{SHA256[7:]}  screen.h5ad\n"
    target.unlink()
    site.says(ranged(BODY[:8] + OTHER))
    said = fault(site, target, known_hash=None)
    assert f"expected {SHA256}" in said
    assert f"If it was published anew, delete {record}: it has the former hash." in said
    record.unlink()
    assert get(site, target, known_hash=None).read_bytes() == BODY[:8] + OTHER


def test_no_hash_that_is_none(site: Site, target: Path) -> None:
    with pytest.raises(OptionError, match=r"known_hash='crc:12' must be 'md5:' and 32, or"):
        get(site, target, known_hash="crc:12")
    assert not site.asked


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        (answer(PAGE, HTML, status=403), "403 .* text/html"),
        (answer(b"gone", status=404), "404 Not Found with nothing that is named"),
        (answer(status=202), "202 Accepted .*, as servers do that first want to see a browser"),
        (answer(PAGE, HTML), "200 OK .* a web page instead of the file"),
        (answer(PAGE), "200 OK with a web page: it begins with b'<!DOCTYPE html>"),
        (
            answer(b"PK\3\4", {"Content-Type": "x/y"}),
            r"200 OK with no HDF5 file: it begins with b'PK",
        ),
        (answer(), "200 OK with an empty answer"),
    ],
)
def test_other_answers_are_named_and_not_asked_for_again(
    site: Site, target: Path, refusal: Answer, words: str
) -> None:
    site.says(refusal)
    said = fault(site, target)
    assert re.search(f"^{site.url} answered {words}", said)
    assert said.endswith(by_hand(site, target))
    assert len(site.asked) == 1
    assert not names(target.parent)


def test_a_refusal_keeps_what_came_before(site: Site, target: Path) -> None:
    interrupted(site, target)
    site.says(answer(PAGE, HTML), answer(PAGE), ranged())
    for _ in range(2):
        assert f"The {HALF:,} bytes that came are kept for the next try." in fault(site, target)
    assert get(site, target).read_bytes() == BODY
    assert site.asked[-1] == f"bytes={HALF}-"


def test_only_an_h5ad_must_be_hdf5(site: Site, target: Path) -> None:
    site.says(answer(b"<xml/>"))
    known_hash = "md5:" + hashlib.md5(b"<xml/>").hexdigest()
    assert get(site, target.with_suffix(".xml"), known_hash=known_hash).read_bytes() == b"<xml/>"


def test_truncated_answer_is_gone_on_with(site: Site, target: Path) -> None:
    site.says(answer(BODY, sent=HALF), ranged())
    assert get(site, target).read_bytes() == BODY
    assert site.asked == [None, f"bytes={HALF}-"]


def test_truncated_answer_of_unstated_length_is_gone_on_with(site: Site, target: Path) -> None:
    def unstated(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        request.wfile.write(BODY[:HALF])

    site.says(unstated, ranged())
    assert get(site, target, size=len(BODY)).read_bytes() == BODY
    assert site.asked == [None, f"bytes={HALF}-"]


def test_patience_lasts_as_long_as_bytes_come(site: Site, target: Path) -> None:
    def drips(request: BaseHTTPRequestHandler) -> None:
        start = int(request.headers.get("Range", "bytes=0-")[6:-1])
        extent = {"Content-Range": f"bytes {start}-{len(BODY) - 1}/{len(BODY)}"}
        status = 206 if start else 200
        answer(BODY[start:], extent, status=status, sent=resuming.CHUNK)(request)

    site.says(drips)
    assert get(site, target).read_bytes() == BODY
    assert len(site.asked) > resuming.TRIES


def test_broken_for_good(site: Site, target: Path) -> None:
    site.says(answer(BODY, sent=HALF))
    said = fault(site, target)
    assert f"broke off or was not reached (IncompleteRead({HALF} bytes read" in said
    assert f"{resuming.TRIES} times in a row. The {HALF:,} bytes that came are kept" in said
    assert said.endswith(by_hand(site, target))
    assert len(site.asked) == resuming.TRIES


def test_no_network(site: Site, target: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        site.url = f"http://127.0.0.1:{free.getsockname()[1]}/screen.h5ad"
    said = fault(site, target)
    assert re.search(rf"^{site.url} .*not reached \(.*refused.*\), 4 times in a row", said)
    assert said.endswith(by_hand(site, target))


def test_silent_server(site: Site, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resuming, "TIMEOUT", (1.0, 0.05))
    site.says(lambda _: time.sleep(0.15), ranged())
    assert get(site, target).read_bytes() == BODY


def test_no_address(site: Site, target: Path) -> None:
    site.url = "nowhere/screen.h5ad"
    assert "nowhere/screen.h5ad could not be asked for (Invalid URL" in fault(site, target)


@pytest.mark.parametrize("status", [500, 503, 429])
def test_busy_server_is_asked_again(
    site: Site, target: Path, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(resuming, "time", SimpleNamespace(sleep=waits.append))
    site.says(answer(status=status), answer(status=status), ranged())
    assert get(site, target, pause=2.0).read_bytes() == BODY
    assert waits == [2.0, 4.0]
    target.unlink()
    site.says(answer(status=status))
    assert re.search(rf"answered {status} .*, 4 times in a row", fault(site, target))


def test_wrong_checksum(site: Site, target: Path) -> None:
    wrong = BODY[:8] + OTHER
    site.says(answer(wrong))
    said = fault(site, target)
    assert said.startswith(f"{site.url} gave something else than the published file: ")
    assert f"expected {MD5} but got {hashlib.md5(wrong).hexdigest()}" in said
    assert said.endswith(by_hand(site, target))
    assert len(site.asked) == 1
    assert not names(target.parent)


def test_wrong_size(site: Site, target: Path) -> None:
    said = fault(site, target, size=5_000_000)
    assert f"{site.url} has {len(BODY):,} bytes there, and the published file 5,000,000" in said
    assert said.endswith(by_hand(site, target))
    assert not names(target.parent)


@pytest.mark.parametrize("known_hash", [MD5, None])
def test_interrupted_download_is_gone_on_with(
    site: Site, target: Path, known_hash: str | None
) -> None:
    site.says(ranged(headers={"ETag": '"one"'}))
    interrupted(site, target, known_hash=known_hash)
    assert get(site, target, known_hash=known_hash).read_bytes() == BODY
    assert site.asked == [f"bytes={HALF}-"]
    assert site.headers["If-Range"] == '"one"'
    assert not part(target).exists()


def test_killed_download_is_gone_on_with(
    site: Site, target: Path, killed: Callable[..., None]
) -> None:
    stop = threading.Event()

    def half(request: BaseHTTPRequestHandler) -> None:
        answer(BODY, sent=HALF)(request)
        stop.wait(20)

    site.says(half, ranged())
    script = """
import sys, threading, time
from pathlib import Path
from sparseshift.datasets.download import fetch

url, target, half = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
part = target.with_name(f".{target.name}.part")
threading.Thread(target=fetch, args=[url, target], daemon=True).start()
while not (part.exists() and part.stat().st_size == half):
    time.sleep(0.005)
print("ready", flush=True)
time.sleep(60)
"""
    killed(script, site.url, str(target), str(HALF))
    stop.set()
    assert not target.exists()
    assert get(site, target).read_bytes() == BODY
    assert site.asked == [None, f"bytes={HALF}-"]


def test_interrupted_checksum_keeps_the_bytes(
    site: Site, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pooch.core

    for size in (None, len(BODY)):
        site.asked.clear()
        with monkeypatch.context() as patch:
            patch.setattr(pooch.core, "hash_matches", ctrl_c)
            with pytest.raises(KeyboardInterrupt):
                get(site, target)
        assert part(target).read_bytes() == BODY
        assert get(site, target, size=size).read_bytes() == BODY
        assert site.asked == [None, *([f"bytes={len(BODY)}-"] if size is None else [])]
        target.unlink()


def test_without_hard_links(site: Site, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(os, "link", no_links)
    assert get(site, target).read_bytes() == BODY
    assert names(target.parent) == [".screen.h5ad.checked.json", "screen.h5ad"]


@pytest.mark.parametrize("known_hash", [MD5, None])
def test_a_file_that_changed_meanwhile_is_not_mixed(
    site: Site, target: Path, known_hash: str | None
) -> None:
    site.says(ranged(headers={"ETag": '"one"'}))
    interrupted(site, target, known_hash=known_hash)
    new = BODY[:8] + OTHER
    known_hash = known_hash and "md5:" + hashlib.md5(new).hexdigest()
    site.says(ranged(new, {"ETag": '"two"'}))
    assert get(site, target, known_hash=known_hash).read_bytes() == new
    assert site.asked == [f"bytes={HALF}-"]


@pytest.mark.parametrize("version", [{}, {"ETag": 'W/"weak"'}])
def test_nothing_is_gone_on_with_that_nobody_could_check(
    site: Site, target: Path, version: dict[str, str]
) -> None:
    site.says(ranged(headers=version))
    interrupted(site, target, known_hash=None)
    assert get(site, target, known_hash=None).read_bytes() == BODY
    assert site.asked == [None]


def test_resumed_to_a_wrong_checksum_is_fetched_anew_once(site: Site, target: Path) -> None:
    target.parent.mkdir()
    part(target).write_bytes(OTHER[:HALF])
    assert get(site, target).read_bytes() == BODY
    assert site.asked == [f"bytes={HALF}-", None]
    target.unlink()
    part(target).write_bytes(OTHER[:HALF])
    site.says(ranged(BODY + b"x"))
    assert "gave something else than the published file" in fault(site, target)
    assert site.asked == [f"bytes={HALF}-", None]
    assert not part(target).exists()


def test_no_range_support_means_start_over(site: Site, target: Path) -> None:
    interrupted(site, target)
    site.says(answer(BODY))
    assert get(site, target).read_bytes() == BODY
    assert site.asked == [f"bytes={HALF}-"]


@pytest.mark.parametrize(
    "extent", [f"bytes 0-{len(BODY) - 1}/{len(BODY)}", "bytes 5-9/*", "lines 1-2/3", ""]
)
def test_other_range_than_asked_for_means_start_over(
    site: Site, target: Path, extent: str
) -> None:
    interrupted(site, target)
    site.says(answer(BODY[HALF:], {"Content-Range": extent}, status=206), ranged())
    assert get(site, target).read_bytes() == BODY
    assert site.asked == [f"bytes={HALF}-", None]


def test_more_bytes_than_the_file_has_mean_start_over(site: Site, target: Path) -> None:
    target.parent.mkdir()
    for size, asked in [(len(BODY), [None]), (None, [f"bytes={len(BODY) + 1}-", None])]:
        site.asked.clear()
        part(target).write_bytes(BODY + b"x")
        assert get(site, target, size=size).read_bytes() == BODY
        assert site.asked == asked
        target.unlink()


def test_redirect(site: Site, target: Path) -> None:
    interrupted(site, target)
    site.says(answer(headers={"Location": "/elsewhere"}, status=302), ranged())
    assert get(site, target).read_bytes() == BODY
    assert site.asked == [f"bytes={HALF}-"] * 2
    target.unlink()
    site.says(answer(headers={"Location": site.url}, status=302))
    assert "could not be asked for (Exceeded 30 redirects.)" in fault(site, target)


def test_small_disk(site: Site, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = SimpleNamespace(free=1000)
    interrupted(site, target)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    said = fault(site, target)
    assert said == (
        f"{site.url} needs {len(BODY) - HALF:,} more bytes in {target.parent}, and the disk there "
        "has 1,000 free. Free some space and run again, or keep the file elsewhere: correct its "
        "filepath."
    )
    free.free = len(BODY) - HALF
    assert get(site, target).read_bytes() == BODY


@pytest.mark.parametrize("full", [errno.ENOSPC, errno.EDQUOT])
def test_disk_that_fills_up(
    site: Site, target: Path, full: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: int) -> None:
        raise OSError(full, "full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fails)
        patch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=len(BODY)))
        said = fault(site, target)
    assert said.startswith(
        f"The disk of {target.parent} is full: {site.url} needs {len(BODY):,} bytes, "
        f"{len(BODY):,} are there, and {len(BODY):,} are free. Free some space and run again"
    )
    assert len(site.asked) == 1
    assert get(site, target).read_bytes() == BODY


def test_folder_that_cannot_be_written(site: Site, target: Path) -> None:
    target.parent.write_text("a file")
    said = fault(site, target)
    assert re.search(rf"{site.url} cannot be written to {target}: .*Make the folder", said)
    assert not site.asked


def test_own_file_is_never_touched(site: Site, target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(b"years of work")
    part(target).write_bytes(BODY[:HALF])
    refusals: list[tuple[dict[str, Any], str]] = [
        ({"size": len(BODY)}, f"{target} has 13 bytes, and .* has {len(BODY):,} bytes"),
        ({}, rf"{target} has md5:\w+, and the published file \({site.url}\) has {MD5}"),
        ({"known_hash": None}, f"{target} is no HDF5 file: it begins with b'years of work'"),
    ]
    for options, words in refusals:
        with pytest.raises(DownloadError, match=f"{words}.* It is left as it is: delete it to"):
            get(site, target, **options)
    assert target.read_bytes() == b"years of work"
    assert not site.asked


def test_hand_placed_file_ends_a_download(site: Site, target: Path) -> None:
    interrupted(site, target)
    target.write_bytes(BODY)
    assert get(site, target) == target
    assert not site.asked
    assert names(target.parent) == [".screen.h5ad.checked.json", "screen.h5ad"]


def test_links(site: Site, target: Path, tmp_path: Path) -> None:
    target.parent.mkdir()
    target.symlink_to(tmp_path / "disk")
    with pytest.raises(DownloadError, match=rf"{target} is a link to {tmp_path}/disk, and noth"):
        get(site, target)
    (tmp_path / "disk").write_bytes(BODY)
    assert get(site, target) == target
    assert target.is_symlink()
    assert not site.asked


def test_two_at_once_download_once(
    site: Site, target: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "sparseshift")

    def slow(request: BaseHTTPRequestHandler) -> None:
        while "Waiting for another process" not in caplog.text:
            time.sleep(0.005)
        ranged()(request)

    site.says(slow)
    both = [threading.Thread(target=get, args=[site, target]) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert target.read_bytes() == BODY
    assert site.asked == [None]


def test_filesystem_without_locks(
    site: Site, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks here")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    assert get(site, target).read_bytes() == BODY
    target.unlink()
    monkeypatch.setitem(sys.modules, "fcntl", None)
    assert get(site, target).read_bytes() == BODY


def test_log_lines(
    site: Site, target: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "sparseshift")
    get(site, target)
    assert f"Downloading {site.url} to {target}." in caplog.text
    assert caplog.text.count(" MB") == 1
    assert "screen.h5ad: 0.3 MB (100%)" in caplog.text
    target.unlink()
    caplog.clear()
    monkeypatch.setattr(download_progress, "LOG_EVERY", 0.0)
    get(site, target)
    assert "screen.h5ad: 0.1 MB (21%)" in caplog.text
    target.unlink()
    caplog.clear()
    get(site, target, progress=False)
    assert " MB" not in caplog.text


def test_bar_on_a_terminal(
    site: Site,
    target: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    get(site, target)
    assert "screen.h5ad: 100%" in capsys.readouterr().err


def test_pooch_keeps_silent(site: Site, target: Path, capfd: pytest.CaptureFixture[str]) -> None:
    get(site, target, known_hash=None)
    assert "SHA256" not in "".join(capfd.readouterr())
