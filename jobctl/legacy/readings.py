"""What a value of the older file may mean in ``config.yaml``, and which values that will take."""

from __future__ import annotations

import configparser
import re
import tempfile
from collections.abc import Callable, Container, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import yaml

from jobctl import config
from jobctl.errors import JobctlError

LIST = "application_options"
DOCUMENTED = (
    *("require_password", "hash_algorithm", "server_path"),
    *("app_module_path", "app_module", "protocol"),
)
NAMES = ("server_path", "app_module_path", "app_module", "user_dir_base")
"""Keys whose values name files."""

_WORDS = ("require_password", "hash_algorithm", "protocol", "port_range", "bind_address", LIST)
# Python 2 took what stands behind " ;" for a comment and Python 3 does not; neither did so with
# " #". A name or path may well have that in it, the other documented values can't.
_BEHIND_NAMES = re.compile(r"\s(;.*)")
_BEHIND_WORDS = re.compile(r"(?:^|(?<=\s))([;#].*)", re.MULTILINE)
_RANGE = re.compile(
    r"[\[(]?\s*(\d+)\s*(?:-|\u2013|:|,|\.\.+|to|\s)\s*(\d+)\s*[\])]?", re.IGNORECASE
)
_PIECE = re.compile(r"""("[^"]*"|'[^']*')|[^,;\n"']+""")


def without_remarks(key: str, value: str) -> tuple[str, list[str]]:
    """Return a value without the comments behind it, and those."""
    if key in NAMES:
        pattern = _BEHIND_NAMES
    elif key in _WORDS:
        pattern = _BEHIND_WORDS
    else:
        return value, []
    return pattern.sub("", value).strip(), pattern.findall(value)


def readings(key: str, value: str) -> list[Any]:
    """Return what a value without remarks may mean, the likeliest first."""
    word = value.strip("\"'").lower()
    if key == "require_password":
        return [configparser.RawConfigParser.BOOLEAN_STATES.get(word, value)]
    if key in ("hash_algorithm", "protocol"):
        return [word]
    if key == "app_module":
        return [value.removesuffix(".py")]
    if key in NAMES:
        return [value]
    if key == "port_range":
        bounds = _RANGE.fullmatch(word)
        return [[int(bounds[1]), int(bounds[2])] if bounds else value]
    try:
        parsed = yaml.safe_load(value)
        msgspec.json.encode(parsed, enc_hook=str)
    except (yaml.YAMLError, ValueError, RecursionError):
        # No YAML, a date that there is none of, a list that holds itself.
        return [value]
    return [value, parsed]


def names(value: str, known: Container[str]) -> list[str]:
    """Return the names in a list: with commas, lines or blanks between them, maybe in quotes.

    Blanks don't part a name that is ``known`` to have some.
    """
    found: list[str] = []
    for piece in _PIECE.finditer(re.sub(r"[\[\](){}]", " ", value)):
        text = piece[0].strip("\"'").strip()
        found += [text] if piece[1] or text in known else text.split()
    return [name for name in found if name]


def refusal(values: Mapping[str, Any]) -> str | None:
    """Return why a configuration can't say this, or ``None`` if it can."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "config.yaml")
        path.write_text(yaml.safe_dump(dict(values)), encoding="utf-8")
        try:
            config.load(path)
        except JobctlError as error:
            return str(error).removeprefix(f"{path}: ")
    return None


def settle(
    candidates: Mapping[str, Sequence[Any]], refused: Callable[[dict[str, Any]], str | None]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the values that go together, and of the other keys why they don't.

    ``candidates`` has the readings of each key. A value may need another one beside it, so the
    keys are gone through again until none is added.
    """
    kept: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    before = -1
    while before < len(kept):
        before = len(kept)
        for key in [key for key in candidates if key not in kept]:
            for reading in candidates[key]:
                reason = refused({**kept, key: reading})
                if reason is None:
                    kept[key] = reading
                    break
                reasons[key] = reason
    return kept, {key: reasons[key] for key in candidates if key not in kept}
