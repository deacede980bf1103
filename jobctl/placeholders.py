"""Placeholders such as ``{port}`` in a section's command, environment and mounts. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence

ARGS = "{args}"
NAMES = ("listen", "port", "host_port", "job_id", "job_root", "owner", "url", "directory")
"""``listen`` and ``port`` are where the app listens, ``host_port`` where clients connect,
``directory`` where the app was launched from; the others are keys of the job object."""

_NUMBER = re.compile(r"\{(\{number(?::[^{}]*)?\})\}|\{number(:[^{}]*)?\}")
_WIDTH = re.compile(":0([1-9])")
_BRACES = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


def words(command: str) -> list[str]:
    """Split a command line as a shell would, before anything is filled in.

    Raises:
        ValueError: a quotation does not end.
    """
    try:
        return shlex.split(command)
    except ValueError as error:
        raise ValueError(f"command: {str(error).lower()}; end it") from None


def check(key: str, texts: Iterable[str], *, args: bool = False) -> None:
    """Make sure that ``texts`` can be filled in.

    Raises:
        ValueError: they have a placeholder that there is none of, or a single brace.
    """
    allowed = [*NAMES, "args"] if args else NAMES
    for text in texts:
        if args and text == ARGS:
            continue
        for match in _BRACES.finditer(text):
            if match[0] in ("{{", "}}") or match[1] in NAMES:
                continue
            if args and match[1] == "args":
                raise ValueError(
                    f"{key}: {{args}} stands for any number of words and has to be one, not a "
                    f'part of "{text}"; leave spaces around it'
                )
            known = ", ".join(f"{{{name}}}" for name in allowed)
            raise ValueError(
                f'{key}: "{match[0]}" in "{text}" is no placeholder; expected one of {known}, or '
                "{{ and }} for braces"
            )


def fill(text: str, values: Mapping[str, str]) -> str:
    """Return ``text`` with each placeholder replaced and each double brace made single."""
    return _BRACES.sub(lambda match: values[match[1]] if match[1] else match[0][0], text)


def fill_command(
    command: str | Sequence[str], values: Mapping[str, str], args: Sequence[str]
) -> list[str]:
    """Return the words of a command; ``args`` stand where ``{args}`` does, else at the end."""
    given = words(command) if isinstance(command, str) else list(command)
    if ARGS not in given:
        given.append(ARGS)
    filled = ([*args] if word == ARGS else [fill(word, values)] for word in given)
    return [word for group in filled for word in group]


def fill_number(text: str, number: int) -> str:
    """Return ``text`` of a command line with a job's number for each ``{number}`` in it.

    ``{number:03}`` has zeros before it, up to so many digits; ``{{number}}`` becomes
    ``{number}``. Other braces are the user's own and stay.

    Raises:
        ValueError: what follows the colon is no such width.
    """

    def filled(match: re.Match[str]) -> str:
        if match[1]:
            return match[1]
        if match[2] is None:
            return str(number)
        width = _WIDTH.fullmatch(match[2])
        if width is None:
            raise ValueError(
                f'"{match[0]}" in "{text}": expected {{number}}, or {{number:03}} for three digits'
            )
        return str(number).zfill(int(width[1]))

    return _NUMBER.sub(filled, text)
