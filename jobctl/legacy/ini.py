"""Reads an INI file with its comments and line numbers, which ``configparser`` keeps to itself."""

from __future__ import annotations

import configparser
import re
from dataclasses import dataclass, field
from pathlib import Path

from jobctl.errors import JobctlError

DEFAULT = "DEFAULT"
# ``configparser`` lets a name go on to the last bracket of the line, and drops what is behind it.
_HEADER = re.compile(r"\[(?P<header>[^]]+)\](?P<rest>.*)")


@dataclass
class Key:
    """One key, spelled as in the file, with its value and the comments that belong to it."""

    section: str
    name: str
    value: str
    line: int
    comments: list[str]


@dataclass
class Block:
    """One section; ``keys`` goes by lower-case names, as the older scripts did."""

    name: str
    line: int
    comments: list[str]
    keys: dict[str, Key] = field(default_factory=dict)


def read(text: str, source: Path) -> tuple[list[Block], list[str]]:
    """Return the sections, and the comments behind the last of them.

    The section DEFAULT is one like the others, values are not interpolated. What the values are
    is for ``configparser`` to say; lines are told apart here by its rule: one that is indented
    further than the key above goes on with its value.

    Raises:
        JobctlError: it is no INI file, or says something twice.
    """
    text = text.removeprefix("\ufeff")
    values = _values(text, source)
    blocks: list[Block] = []
    comments: list[str] = []
    key: Key | None = None
    indent = 0
    for number, line in enumerate(text.split("\n"), 1):
        words, depth = line.strip(), len(line) - len(line.lstrip())
        if not words:
            continue
        if words[0] in "#;":
            comments.append(words)
            continue
        if key and depth > indent:
            key.comments += comments
        elif header := _HEADER.match(words):
            rest = header["rest"].strip()
            blocks.append(Block(header["header"], number, [*comments, *([rest] if rest else [])]))
            key = None
        else:
            name, block = re.split("[=:]", words, maxsplit=1)[0].strip(), blocks[-1]
            key = Key(block.name, name, values[block.name][name.lower()], number, comments)
            block.keys[name.lower()] = key
            indent = depth
        comments = []
    return blocks, comments


def _values(text: str, source: Path) -> configparser.RawConfigParser:
    # No header can be "]", so that DEFAULT is no special section.
    parser = configparser.RawConfigParser(default_section="]")
    parser.SECTCRE = _HEADER
    if "\0" in text or re.search("[\ud800-\udfff]", text):
        raise JobctlError(f"{source}: not a text file in UTF-8; save it as one and try again")
    try:
        parser.read_string(text, str(source))
    except configparser.DuplicateSectionError as error:
        raise JobctlError(
            f"{source}:{error.lineno}: [{error.section}] stands there a second time; make one "
            "section of the two"
        ) from None
    except configparser.DuplicateOptionError as error:
        raise JobctlError(
            f'{source}:{error.lineno}: [{error.section}] has "{error.option}" a second time; '
            "remove one of the two"
        ) from None
    except configparser.MissingSectionHeaderError as error:
        raise JobctlError(
            f'{source}:{error.lineno}: "{error.line.strip()}" stands before any section; expected '
            "[general] above it"
        ) from None
    except configparser.ParsingError as error:
        number = error.errors[0][0]
        wrong = text.split("\n")[number - 1].strip()
        raise JobctlError(f'{source}:{number}: expected KEY = VALUE, got "{wrong}"') from None
    if not parser.sections():
        raise JobctlError(f"{source}: no section in it; expected the older scripts' config.ini")
    return parser
