"""The page as a browser shows it: no errors, and nothing wider than the window."""

import html
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sparseshift.plots.effect_matrix import effect_matrix
from sparseshift.plots.page import FigureBlock, ScreenSection, TableBlock, render_page
from sparseshift.plots.summary import comparison_table

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--v=0",
    "--window-size=1400,1000",
]
WIDTHS = (1280, 390)

# Each page lies in a frame of the width asked for, because a headless window is at least 500 px
# wide. The probe is in the outer page, so that the inner one is the page as it is.
PROBE = """
<!DOCTYPE html><title>waiting</title>%s
<script>
addEventListener("load", () => {
  const found = [...document.querySelectorAll("iframe")].map(frame => {
    const inner = frame.contentDocument;
    const images = [...inner.images];
    const boxes = [...inner.querySelectorAll(".scroll")];
    return {
      width: frame.contentWindow.innerWidth,
      overflow: inner.documentElement.scrollWidth - inner.documentElement.clientWidth,
      images: images.filter(image => image.complete && image.naturalWidth > 0).length,
      scrollable: boxes.filter(box => box.scrollWidth > box.clientWidth).length,
      heading: inner.querySelector("h1")?.textContent ?? "",
    };
  });
  document.title = JSON.stringify(found);
});
</script>
"""


@pytest.fixture(scope="module")
def browser() -> str:
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"needs one of {', '.join(NAMES)} on the PATH")
    return found


def show(browser: str, page: str, folder: Path) -> tuple[list[dict[str, int | str]], list[str]]:
    """What the probe finds in the page at each width, and the messages of the console."""
    frames = [
        f'<iframe width="{width}" height="900" style="border:0" srcdoc="{html.escape(page)}">'
        "</iframe>"
        for width in WIDTHS
    ]
    outer = folder / "outer.html"
    outer.write_text(PROBE % "".join(frames), encoding="utf-8")
    command = [browser, *FLAGS, f"--user-data-dir={folder / 'profile'}", "--dump-dom"]
    done = subprocess.run(
        [*command, outer.as_uri()],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    title = re.search(r"<title>(.*?)</title>", done.stdout, re.DOTALL)
    assert title, done.stderr
    console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    return json.loads(html.unescape(title[1])), console


def test_no_errors_and_no_overflow_on_desktop_and_phone(
    browser: str,
    tmp_path: Path,
    metrics: pd.DataFrame,
    effects: pd.DataFrame,
    inclusion: pd.DataFrame,
) -> None:
    buffer = io.BytesIO()
    effect_matrix(effects, inclusion).savefig(buffer, format="png", dpi=144)
    long = "A_perturbation_<script>throw 1</script>_with_a_name_that_never_ends" * 4
    wide = pd.DataFrame(np.random.default_rng(0).normal(size=(3, 40)), index=[long, "STAT1", "&"])
    section = ScreenSection(
        name=long,
        facts={"sha256": "3f786850e387550f" * 8, long: long},
        figures=[FigureBlock(buffer.getvalue(), f"Shifts, {long}.", long)],
        tables=[
            TableBlock(comparison_table(metrics), f"Held-out perturbations, {long}."),
            TableBlock(wide, "A wide table."),
        ],
        notes=[long],
    )
    page = render_page("Two screens", [long], {"Command": long}, [section, section])
    (desktop, phone), console = show(browser, page, tmp_path)
    assert not console
    for found, width in zip((desktop, phone), WIDTHS, strict=True):
        assert found["heading"] == "Two screens"
        assert found["width"] == width
        assert found["overflow"] == 0
        assert found["images"] == 2
    assert phone["scrollable"] == 4
    assert desktop["scrollable"] == 2


def test_the_probe_would_notice(browser: str, tmp_path: Path) -> None:
    page = '<h1 style="width:2000px">x</h1><script>console.error("broken")</script>'
    found, console = show(browser, page, tmp_path)
    assert [int(each["overflow"]) > 0 for each in found] == [True, True]
    assert any("broken" in line for line in console)
