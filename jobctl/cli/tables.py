"""Tables: whole in a file or a pipe, at a terminal no wider than that. Returns text."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Generic, TypeVar

import msgspec

from jobctl.cli.screen import Screen
from jobctl.cli.words import one_line

T = TypeVar("T")

MOST_CELL = 300
"""How wide a column of a table gets, in characters; the URL of the longest host name fits."""

_GAP = "  "


class Column(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A column of a table of things of a kind.

    Where there is no room for all, the column with the highest ``spare`` is the first to be cut,
    if it may be, to no less than ``least`` characters, and then to be left out; one with 0 never
    is. A ``wide`` one is shown only to who asks for everything. ``link`` is what a cell opens.
    """

    head: str
    text: Callable[[T], str]
    spare: int = 0
    least: int | None = None
    wide: bool = False
    colour: Callable[[T], str | None] | None = None
    link: Callable[[T], str] | None = None


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return columns of text as wide as they have to be."""
    columns = [
        Column[Sequence[str]](head=name, text=itemgetter(at)) for at, name in enumerate(head)
    ]
    return draw(columns, list(rows), Screen())


def draw(columns: Sequence[Column[T]], items: Sequence[T], screen: Screen) -> str:
    """Return the table of some things, with a line for each below that of the heads."""
    cells = [[_cell(column.text(item)) for item in items] for column in columns]
    widths = [
        max(map(width_of, [column.head, *texts]))
        for column, texts in zip(columns, cells, strict=True)
    ]
    if screen.width is not None:
        widths = fit(columns, widths, screen.width)
    shown = [at for at, width in enumerate(widths) if width]
    lines = [_line([(columns[at].head, columns[at].head, widths[at]) for at in shown])]
    for number, item in enumerate(items):
        row = []
        for at in shown:
            text = shorten(cells[at][number], widths[at])
            row.append((text, _dressed(columns[at], item, text, screen), widths[at]))
        lines.append(_line(row))
    return "\n".join(lines)


def fit(columns: Sequence[Column[T]], widths: Sequence[int], room: int) -> list[int]:
    """Return how wide columns are where there is ``room`` for so many characters; 0 is left out.

    What can't be spared is wider than that if it has to be.
    """
    shown = sorted(range(len(columns)), key=lambda at: -columns[at].spare)
    while True:
        over = sum(widths[at] for at in shown) + len(_GAP) * (len(shown) - 1) - room
        fitted = [width if at in shown else 0 for at, width in enumerate(widths)]
        for at in shown:
            least = columns[at].least
            if over > 0 and columns[at].spare and least is not None:
                fitted[at] = min(widths[at], max(least, widths[at] - over))
                over -= widths[at] - fitted[at]
        if over <= 0 or not columns[shown[0]].spare:
            return fitted
        del shown[0]


def width_of(text: str) -> int:
    """Return how many columns of a terminal a line of text takes."""
    if text.isascii():
        return len(text)
    return sum(_width_of_character(c) for c in text)


def shorten(text: str, width: int) -> str:
    """Return text that takes no more than ``width`` columns."""
    if width_of(text) <= width:
        return text
    kept, left = [], width - 1
    for character in text:
        left -= _width_of_character(character)
        if left < 0:
            break
        kept.append(character)
    return "".join(kept) + "…"


def _width_of_character(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _cell(text: str) -> str:
    text = one_line(text)
    return text if len(text) <= MOST_CELL else text[: MOST_CELL - 1] + "…"


def _dressed(column: Column[T], item: T, text: str, screen: Screen) -> str:
    coloured = screen.coloured(text, column.colour(item) if column.colour else None)
    return screen.linked(coloured, column.link(item) if column.link else None)


def _line(row: Sequence[tuple[str, str, int]]) -> str:
    """Return a line of texts, as they are to be seen and as they are, with spaces between them."""
    *others, (_, last, _) = row
    padded = (seen + " " * (width - width_of(text)) + _GAP for text, seen, width in others)
    return ("".join(padded) + last).rstrip()
