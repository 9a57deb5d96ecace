import base64
import io
import re
from dataclasses import FrozenInstanceError
from html.parser import HTMLParser

import pandas as pd
import pytest
from matplotlib.figure import Figure

from sparseshift.errors import OptionError
from sparseshift.plots.page import FigureBlock, ScreenSection, TableBlock, render_page
from sparseshift.plots.summary import comparison_table

EVIL = '<script>alert("a & b")</script>'
VOID = {"img", "meta", "link", "br", "hr", "input"}


class Reader(HTMLParser):
    """Collects tags, their attributes and texts, and checks that tags are closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and data.strip():
            self.texts.setdefault(self.open[-1], []).append(data.strip())

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def png() -> bytes:
    buffer = io.BytesIO()
    Figure(figsize=(2, 1)).savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()


@pytest.fixture
def page(metrics: pd.DataFrame) -> str:
    shifts = pd.DataFrame({"z0": [1.25, None], "z1": [0.5, 2.0]}, index=[EVIL, "STAT1"])
    papalexi = ScreenSection(
        name="papalexi2021",
        facts={"Cells": "16,192", "File": EVIL},
        figures=[FigureBlock(png(), f"Shifts & {EVIL}.", f'Heat map "{EVIL}"')],
        tables=[
            TableBlock(comparison_table(metrics), "Held-out perturbations."),
            TableBlock(shifts, "Shifts."),
        ],
        notes=[EVIL],
    )
    norman = ScreenSection("norman2019", {"Cells": "3,098"}, [], [], [])
    return render_page(EVIL, ["What was run.", EVIL], {"Command": "kedro run"}, [papalexi, norman])


def test_sections_and_their_parts_are_in_the_contents(page: str) -> None:
    reader = Reader(page)
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = [(a["href"] or "").removeprefix("#") for a in reader.of("a")]
    assert set(targets) <= set(ids)
    assert {"screen-1", "screen-1-comparison", "screen-1-tables", "screen-2"} <= set(targets)
    assert "screen-2-figures" not in targets
    assert reader.texts["h2"] == ["papalexi2021", "norman2019"]


def test_what_was_run_and_the_answer_come_first(page: str) -> None:
    places = [page.index(text) for text in ("What was run.", "kedro run", "Held-out perturb")]
    assert places == sorted(places)
    assert page.index("Held-out perturbations.") < page.index("<img") < page.index("Shifts.</fig")


def test_text_of_users_is_escaped_everywhere(page: str) -> None:
    reader = Reader(page)
    assert not reader.of("script")
    assert page.count("alert(") == page.count("&lt;script&gt;alert(&#34;a &amp; b&#34;)")
    assert EVIL in reader.texts["h1"]
    assert EVIL in reader.texts["dd"]
    assert EVIL in reader.texts["li"]
    assert EVIL in reader.texts["span"]  # of a row's heading
    assert reader.of("img")[0]["alt"] == f'Heat map "{EVIL}"'


def test_nothing_is_loaded_from_elsewhere(page: str) -> None:
    reader = Reader(page)
    assert not re.search(r"https?://|//[a-z]|@import|url\(", re.sub(r"base64,[^\"]*", "", page))
    assert not reader.of("link")
    assert all(
        (image["src"] or "").startswith("data:image/png;base64,") for image in reader.of("img")
    )
    policy = [m["content"] for m in reader.of("meta") if "http-equiv" in m]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_images_are_whole_and_have_their_size(page: str) -> None:
    image = Reader(page).of("img")[0]
    assert base64.b64decode((image["src"] or "").split(",")[1]) == png()
    assert (image["width"], image["height"]) == ("200", "100")


def test_it_is_a_page_for_every_reader(page: str) -> None:
    reader = Reader(page)
    assert page.startswith("<!DOCTYPE html>")
    assert reader.of("html") == [{"lang": "en"}]
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in reader.of(
        "meta"
    )
    assert len(reader.of("h1")) == len(reader.of("main")) == len(reader.of("nav")) == 1
    assert all(cell["scope"] in {"row", "col"} for cell in reader.of("th"))
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page


def test_tables_show_intervals_digits_and_dashes(page: str) -> None:
    reader = Reader(page)
    assert "269.1 [267.6, 270.4]" in reader.texts["td"]
    assert reader.texts["td"][-4:] == ["1.250", "0.500", "–", "2.000"]
    assert [b for b in reader.texts["b"] if b.startswith("Table")] == ["Table 1.", "Table 2."]


def test_value_and_its_ends_become_one_column(metrics: pd.DataFrame) -> None:
    headings, rows, numeric = TableBlock(metrics.head(3), "").content
    assert headings == ["screen", "model", "split", "seed", "metric", "subset", "value"]
    assert rows[0][-1] == "270.1"
    assert rows[1][-1] == "267.1 [265.6, 268.4]"
    assert numeric == [False, False, False, True, False, False, True]


def test_awkward_tables() -> None:
    empty = TableBlock(pd.DataFrame({"a": []}), "Nothing.")
    page = render_page("t", [], {}, [ScreenSection("s", {}, [], [empty], [])])
    assert "No rows." in Reader(page).texts["td"]
    several = pd.DataFrame([[1, 2]], index=pd.MultiIndex.from_tuples([("a", "b")]))
    assert TableBlock(several, "").content[:2] == (["", "", "0", "1"], [["a", "b", "1", "2"]])
    assert TableBlock(pd.DataFrame({"a": [1, 2, 3]}).iloc[1:], "").content[0] == ["a"]
    twice = pd.DataFrame([[1.5, 2.5]], columns=["a", "a"], index=pd.Index(["x"], name="a"))
    assert TableBlock(twice, "").content[:2] == (["a", "a", "a"], [["x", "1.500", "2.500"]])
    wide = pd.DataFrame([[1.5]], columns=pd.MultiIndex.from_tuples([("vae", "mcc")]))
    assert TableBlock(wide, "").content[0] == ["vae mcc"]


def test_blocks_are_frozen_and_take_only_png() -> None:
    with pytest.raises(OptionError, match="PNG"):
        FigureBlock(b"<svg/>", "", "")
    with pytest.raises(FrozenInstanceError):
        FigureBlock(png(), "", "").alt = ""


def test_a_page_without_screens() -> None:
    assert "Contents" not in render_page("t", ["Nothing was run."], {}, [])
