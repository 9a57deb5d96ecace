"""The report: one HTML page that can be mailed, with all figures and styles inside."""

import base64
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from io import StringIO
from itertools import count
from typing import Any

import pandas as pd
from jinja2 import Environment, StrictUndefined, Template

from sparseshift.errors import OptionError
from sparseshift.plots.numbers import (
    NOT_AVAILABLE,
    column_text,
    decimals_for,
    with_interval,
)

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_INTERVAL = ["value", "lower", "upper"]


@dataclass(frozen=True)
class FigureBlock:
    """A figure of the page.

    Attributes:
        png: the image.
        caption: what it shows, shown below it.
        alt: what one would see, for those who cannot see it.
    """

    png: bytes
    caption: str
    alt: str

    def __post_init__(self) -> None:
        if not self.png.startswith(_PNG_SIGNATURE):
            raise OptionError("A FigureBlock takes the bytes of a PNG file.")

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return int.from_bytes(self.png[16:20], "big"), int.from_bytes(self.png[20:24], "big")

    @property
    def uri(self) -> str:
        """The image as a data URI."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode()


@dataclass(frozen=True)
class TableBlock:
    """A table of the page.

    Columns value, lower and upper become one column `value [lower, upper]`; numbers are rounded to
    the digits that mean something; what is missing is a dash. The first column heads its row; an
    index that is not just a count becomes a column.

    Attributes:
        frame: the table.
        caption: what it shows, shown above it.
    """

    frame: pd.DataFrame
    caption: str

    @property
    def content(self) -> tuple[list[str], list[list[str]], list[bool]]:
        """Headings, rows of text, and for each column whether it is set like numbers."""
        columns = [(name, column_text(values)) for name, values in _index_columns(self.frame)]
        with_ends = set(_INTERVAL) <= set(self.frame.columns)
        for name, values in self.frame.items():
            if with_ends and name == _INTERVAL[0]:
                columns.append((_heading(name), _intervals(self.frame)))
            elif not (with_ends and name in _INTERVAL):
                columns.append((_heading(name), column_text(values)))
        rows = [list(row) for row in zip(*(texts for _, texts in columns), strict=True)]
        return [name for name, _ in columns], rows, [_reads_as_numbers(t) for _, t in columns]


@dataclass(frozen=True)
class ScreenSection:
    """What the page says about one screen.

    Attributes:
        name: of the screen.
        facts: what the screen is: cells, genes, perturbations, control, ...
        figures: in the order shown.
        tables: the first is the headline comparison, shown before the figures; others follow them.
        notes: what a reader must know to judge the numbers.
        card: how far to trust them, sentences by subject.
    """

    name: str
    facts: dict[str, str]
    figures: list[FigureBlock]
    tables: list[TableBlock]
    notes: list[str]
    card: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As plain data, figures and all."""
        return {
            "name": self.name,
            "facts": self.facts,
            "figures": [
                {"png": base64.b64encode(f.png).decode(), "caption": f.caption, "alt": f.alt}
                for f in self.figures
            ],
            "tables": [
                {"frame": t.frame.to_json(orient="table"), "caption": t.caption}
                for t in self.tables
            ],
            "notes": self.notes,
            "card": self.card,
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "ScreenSection":
        """What `to_json` made."""
        figures = [
            FigureBlock(base64.b64decode(f["png"]), f["caption"], f["alt"])
            for f in content["figures"]
        ]
        tables = [
            TableBlock(pd.read_json(StringIO(t["frame"]), orient="table"), t["caption"])
            for t in content["tables"]
        ]
        text = (content["name"], content["facts"])
        return cls(*text, figures, tables, content["notes"], content["card"])


def render_page(
    title: str, summary: list[str], run: dict[str, str], sections: list[ScreenSection]
) -> str:
    """The page as HTML: first what was run and the answer, then the details of each screen.

    It needs no network, no script and no other file, and all text is escaped, for labels come from
    users' files.

    Args:
        title: of the page.
        summary: sentences or short paragraphs: what was run, and what came out.
        run: how it can be run again: command, version, date, seeds, ...
        sections: one a screen.
    """
    figure_number, table_number = count(1), count(1)
    return _template().render(
        title=title,
        summary=summary,
        run=run,
        sections=sections,
        next_figure=lambda: next(figure_number),
        next_table=lambda: next(table_number),
    )


@cache
def _template() -> Template:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = files("sparseshift.plots").joinpath("page.html").read_text(encoding="utf-8")
    return environment.from_string(source)


def _heading(name: Any) -> str:
    return " ".join(map(str, name)) if isinstance(name, tuple) else str(name)


def _index_columns(frame: pd.DataFrame) -> list[tuple[str, pd.Series]]:
    index = frame.index
    if index.nlevels == 1 and index.name is None and pd.api.types.is_integer_dtype(index):
        return []
    levels = [index.get_level_values(i).to_series() for i in range(index.nlevels)]
    return [
        ("" if name is None else str(name), level)
        for name, level in zip(index.names, levels, strict=True)
    ]


def _intervals(frame: pd.DataFrame) -> list[str]:
    """Rows may hold different metrics, so each has decimals of its own."""
    return [
        with_interval(v, low, high, decimals_for([v], [high - low]))
        for v, low, high in frame[_INTERVAL].astype(float).itertuples(index=False)
    ]


def _reads_as_numbers(texts: list[str]) -> bool:
    shown = [text for text in texts if text != NOT_AVAILABLE]
    return bool(shown) and all(text.lstrip("-<")[:1].isdigit() or text in "-∞" for text in shown)
