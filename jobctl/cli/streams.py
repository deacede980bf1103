"""The standard streams: there even if they were closed, never failing at a character, bounded."""

from __future__ import annotations

import codecs
import io
import json
import os
import sys

from jobctl.errors import JobctlError, UsageError

MOST_BYTES = 1 << 16
"""How much of a password or of its hash is read."""

_ESCAPE = "jobctl.escape"
_STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


def prepare() -> None:
    """Make sure of the three streams, and that standard output takes any text.

    What its encoding lacks is escaped as JSON does it, since much of it is JSON.
    """
    # What is opened later must not get the number of a stream that somebody prints to.
    while (spare := os.open(os.devnull, os.O_RDWR)) < len(_STREAMS):
        os.set_inheritable(spare, True)
    os.close(spare)
    for number, (name, mode) in enumerate(_STREAMS):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode))
    codecs.register_error(_ESCAPE, _escaped)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors=_ESCAPE)


def finish() -> None:
    """Write out what was printed.

    Raises:
        JobctlError: it can't be written, for want of space say.
    """
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _give_up()
    except OSError as error:
        _give_up()
        raise JobctlError(
            f"can't write standard output: {error.strerror}; send it elsewhere"
        ) from None


def secret(what: str, *, line: bool = False) -> str:
    """Return what is on standard input, or its first line, without the line break at its end.

    Raises:
        UsageError: it is too long or no UTF-8.
    """
    source = sys.stdin.buffer
    data = source.readline(MOST_BYTES + 1) if line else source.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise UsageError(f"{what} on standard input is longer than {MOST_BYTES} bytes; give less")
    try:
        return data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise UsageError(
            f"{what} on standard input is no UTF-8; convert it, as with: iconv"
        ) from None


def _give_up() -> None:
    """Let nobody try again, as the interpreter does at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _escaped(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return json.dumps(text)[1:-1], error.end
