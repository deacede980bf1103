"""Lines of a readable ``config.yaml``: keys with values, comments, mappings. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import yaml

_STRING = "tag:yaml.org,2002:str"
# Texts for PyYAML, which would leave them plain; numbers and booleans for other readers of YAML.
_AMBIGUOUS = re.compile(
    r"[-+]?(?:\.\d+|\d+\.?\d*)(?:e[-+]?\d+)?|0o[0-7]+|[yn]", re.ASCII | re.IGNORECASE
)


class _Dumper(yaml.SafeDumper):
    """Writes lists on one line, and texts of several lines as such."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None
    if not re.sub(r"[\n\t]", "", text).isprintable():
        style = '"'
    elif "\n" in text:
        style = "|"
    elif _AMBIGUOUS.fullmatch(text):
        style = "'"
    return dumper.represent_scalar(_STRING, text, style=style)


def _represent_list(dumper: yaml.SafeDumper, values: Sequence[Any]) -> yaml.SequenceNode:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=True)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(list, _represent_list)
_Dumper.add_representer(tuple, _represent_list)


def pair(key: str, value: Any) -> list[str]:
    """Return a key with its value, quoted where it would not be read back as it is."""
    # No folding: a value can be searched for in the file.
    text: str = yaml.dump(
        {key: value}, Dumper=_Dumper, allow_unicode=True, width=float("inf"), sort_keys=False
    )
    return text.rstrip("\n").split("\n")


def comments(texts: Iterable[str]) -> list[str]:
    """Return comments of an INI file, or plain texts, as comments.

    What no YAML reader takes, or would take for the end of the line, is escaped.
    """
    return [f"#{_visible(text[text[:1] in ('#', ';') :].rstrip())}" for text in texts]


def _visible(text: str) -> str:
    return "".join(c if c.isprintable() or c == "\t" else ascii(c)[1:-1] for c in text)


def mapping(key: str, lines: Sequence[str]) -> list[str]:
    """Return a mapping that holds ``lines``; of comments alone it is empty, not null."""
    bare = all(line.startswith("#") for line in lines)
    (head,) = pair(key, {})
    indented = (f"  {line}" if line else "" for line in lines)
    return [head if bare else head.removesuffix(" {}"), *indented]
