"""Opening a page in the user's graphical browser, where there is one and a display for it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

# Python's own webbrowser falls back to browsers in the terminal, which takes that over and shows
# none of these apps.
_USUAL = (
    *("xdg-open", "x-www-browser", "firefox", "chromium", "chromium-browser"),
    *("google-chrome", "google-chrome-stable"),
)
_TEXT = frozenset({"www-browser", "w3m", "lynx", "links", "links2", "elinks", "browsh"})
_START_S = 1.5
"""A browser that can't start has ended by then."""


def obstacle(environ: Mapping[str, str], *, uid: int) -> str | None:
    """Say why no browser should be opened for that user, ``None`` if nothing speaks against it."""
    if uid == 0:
        return "browsers are not opened as root"
    if environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"):
        return None
    if environ.get("SSH_CONNECTION"):
        return "this is a session of another machine, without a display"
    # Where there is no display, $BROWSER may be a program that passes the page on to one.
    return None if environ.get("BROWSER") else "there is no display"


def open_page(url: str, environ: Mapping[str, str], *, uid: int) -> str | None:
    """Open a page in the browser that the user prefers, and return why it was not, if it wasn't.

    That is ``$BROWSER``, a list as in environ(7) of which ``%s`` is the page, else the desktop's.
    """
    if reason := obstacle(environ, uid=uid):
        return reason
    for command in _commands(url, environ):
        if Path(command[0]).name not in _TEXT and _starts(command, environ):
            return None
    return "there is no browser that starts"


def _commands(url: str, environ: Mapping[str, str]) -> Iterator[list[str]]:
    for entry in filter(None, environ.get("BROWSER", "").split(os.pathsep)):
        try:
            words = shlex.split(entry)
        except ValueError:  # an open quotation
            continue
        if any("%s" in word for word in words):
            yield [word.replace("%s", url) for word in words]
        elif words:
            yield [*words, url]
    for name in _USUAL:
        yield [name, url]


def _starts(command: list[str], environ: Mapping[str, str]) -> bool:
    """Start a program that has no part in this terminal, and tell whether it seems to work."""
    program = shutil.which(command[0], path=environ.get("PATH"))
    if program is None:
        return False
    try:
        process = subprocess.Popen(
            [program, *command[1:]],
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # Ctrl-C is not for it, and xdg-open's text browsers find no terminal to take.
            start_new_session=True,
        )
    except OSError:
        return False
    try:
        return process.wait(_START_S) == 0
    except subprocess.TimeoutExpired:
        process.returncode = 0  # it goes on by itself
        return True
