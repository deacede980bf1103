"""Redrawing a terminal with how things are, each second, until somebody has seen enough."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable

from jobctl.cli.screen import draws
from jobctl.cli.words import clean
from jobctl.errors import EngineUnreachable, UsageError

PAUSE_S = 1

_HOME, _CLEAR, _REST_OF_LINE, _REST = "\x1b[H", "\x1b[2J", "\x1b[K", "\x1b[J"


def watch(look: Callable[[], str]) -> None:
    """Show what ``look`` returns, anew each second, until Ctrl-C, which is no failure.

    Nothing of the terminal is changed that would have to be changed back. An engine that does not
    answer is waited for.

    Raises:
        UsageError: there is no terminal that could be redrawn.
    """
    if not draws(sys.stdout):
        raise UsageError("--watch needs a terminal that it can redraw; leave it out here")
    try:
        sys.stdout.write(_CLEAR)
        while True:
            try:
                shown = look()
            except EngineUnreachable as error:
                shown = clean(str(error))
            sys.stdout.write(frame(shown, lines=shutil.get_terminal_size().lines))
            sys.stdout.flush()
            time.sleep(PAUSE_S)
    except KeyboardInterrupt:
        return


def frame(text: str, *, lines: int) -> str:
    """Return what draws text over what was drawn before, in a terminal of so many ``lines``.

    The last of them is where the cursor is.
    """
    shown = text.split("\n")
    room = max(lines - 1, 1)
    if len(shown) > room:
        shown = [*shown[: room - 1], f"… and {len(shown) - room + 1} more"]
    return _HOME + "".join(f"{line}{_REST_OF_LINE}\n" for line in shown) + _REST
