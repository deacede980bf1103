"""What standard output can show: how wide it is, and whether it takes colours and links."""

from __future__ import annotations

import os
import re
import shutil
import sys
from typing import Any, NamedTuple

# As the terminals that follow OSC 8 take a link's target; more could end the sequence.
_LINKABLE = re.compile(r"https?://[!-~]+")


class Screen(NamedTuple):
    """What a terminal shows. A file or a pipe has no ``width``, and gets nothing but text."""

    width: int | None = None
    colours: bool = False
    links: bool = False

    def coloured(self, text: str, colour: str | None) -> str:
        """Return clean text in a colour, where there are any."""
        if not (colour and self.colours):
            return text
        from typer import style

        return style(text, fg=colour)

    def linked(self, text: str, url: str | None) -> str:
        """Return clean text that opens a URL when it is clicked, where that is possible."""
        if not (self.links and url and _LINKABLE.fullmatch(url)):
            return text
        return f"\x1b]8;;{url}\x1b\\{text}\x1b]8;;\x1b\\"


def screen() -> Screen:
    """Return what standard output can show."""
    if not sys.stdout.isatty():
        return Screen()
    clever = draws(sys.stdout)
    return Screen(
        width=shutil.get_terminal_size().columns,
        # https://no-color.org: set, to whatever but nothing
        colours=clever and not os.environ.get("NO_COLOR"),
        links=clever,
    )


def draws(stream: Any) -> bool:
    """Tell whether a stream is a terminal that does more than to print a line after the other."""
    return bool(stream.isatty()) and os.environ.get("TERM", "dumb") not in ("", "dumb", "unknown")
