"""Values from a file against the types that they have to have, told in words when they differ."""

from __future__ import annotations

import ast
import re
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from jobctl.errors import JobctlError
from jobctl.schema import EXPECTED

SHOWN = 100
"""How much of a wrong value is shown, in characters."""
# At the end: a value that is repeated in a message can look like a path too.
_AT = re.compile(r" - at `(?:key` in `)?(\$[^`]*)`\Z")


def check(raw: Any, kind: Any, file: object, keys: tuple[str, ...]) -> Any:
    """Return a value as its type.

    Raises:
        JobctlError: it has another; the message starts with the ``file`` and the path of the key,
            which is below ``keys``.
    """
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        message, inner = _split(str(error))
        if message.startswith("invalid enum value"):
            message = f"expected {_choices(kind, inner)}"
        where = ".".join([*keys, *(key for key in inner if key != "...")]) or "the whole file"
        got = _lookup(raw, inner)
        shown = "" if got is raw else f", got {type(got).__name__} {_brief(got)}"
        raise JobctlError(f"{file}: {where}: {message}{shown}") from None


def _brief(value: Any) -> str:
    try:
        text = msgspec.json.encode(value, enc_hook=str).decode()
    except (TypeError, ValueError):  # JSON has no such keys, or it is no text
        text = ascii(value)
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"


def _split(message: str) -> tuple[str, list[str]]:
    """Split msgspec's ``Expected `int`, got `str` - at `$.a[0]``` into words and a path."""
    at = _AT.search(message)
    words, where = (message[: at.start()], at[1]) if at else (message, "")
    keys = [name or index for name, index in re.findall(r"\.([^.\[\]`]+)|\[(\d+|\.\.\.)\]", where)]
    if pattern := re.fullmatch(r"Expected `str` matching regex (.+)", words):
        return f"expected {EXPECTED[ast.literal_eval(pattern[1])]}", keys
    if own := re.fullmatch(r"([a-z_]+): (.+)", words, re.DOTALL):
        return own[2], [*keys, own[1]]
    words = words.split(", got ")[0].replace("`", "").replace(" | null", "")
    return words[:1].lower() + words[1:], keys


def _choices(kind: Any, keys: list[str]) -> str:
    """Return the values that a key can have, where it is one of those that have a few."""
    hint = get_type_hints(kind)[keys[-1]]
    parts = (hint, *get_args(hint))
    values = [
        f'"{value}"' for part in parts if get_origin(part) is Literal for value in get_args(part)
    ]
    return " or ".join([*values, *(["a number"] if int in parts else [])])


def _lookup(raw: Any, keys: list[str]) -> Any:
    for key in keys:
        try:
            raw = raw[int(key)] if isinstance(raw, list) else raw[key]
        except (KeyError, IndexError, TypeError, ValueError):
            break
    return raw
