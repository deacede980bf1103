"""YAML text: parses it, says on which line a key stands, adds a key without touching the rest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from jobctl.errors import JobctlError

Keys = tuple[str, ...]

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse(text: str | bytes, where: object) -> Any:
    """Return what a YAML text says.

    Raises:
        JobctlError: it is not YAML; ``where`` says where it stands.
    """
    try:
        return yaml.load(text, Loader=_LOADER)  # noqa: S506, both are safe loaders
    # Dates that there are none of and mappings that hold themselves are no YAMLError.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise JobctlError(f"{where}: not YAML: {' '.join(str(error).split())}") from None


def lines(text: str | bytes) -> dict[Keys, int]:
    """Return on which line, from 1, each key of the mappings of a text stands."""
    return {keys: key.start_mark.line + 1 for keys, key, _ in _walk(yaml.compose(text, _LOADER))}


def insert(text: str, below: str, entry: str) -> str:
    """Return ``text`` with ``entry``, some lines, at the end of its top-level mapping ``below``.

    The entry is indented as the others there. Where ``below`` has nothing in it yet or is not
    there, it is begun.

    Raises:
        JobctlError: what is below it is no block of lines that could go on.
    """
    found = {keys: (key, value) for keys, key, value in _walk(yaml.compose(text, _LOADER))}
    indent, line = 2, text.count("\n") + 1
    if (below,) in found:
        key, value = found[(below,)]
        if not isinstance(value, yaml.MappingNode):
            if value.value not in ("", "~", "null"):
                raise JobctlError(f'"{below}" is no mapping')
            line = key.end_mark.line + 1
            rows = text.splitlines(keepends=True)
            rows[line - 1] = f"{below}:\n"
            text = "".join(rows)
        elif value.flow_style:
            raise JobctlError(f'"{below}" is written in braces; write one key a line')
        else:
            indent = value.value[0][0].start_mark.column
            line = _end(value)
    else:
        text = text.rstrip("\n") + f"\n\n{below}:\n" if text else f"{below}:\n"
        line = text.count("\n")
    rows = text.splitlines(keepends=True)
    if rows and not rows[-1].endswith("\n"):
        rows[-1] += "\n"
    own = [" " * indent + row if row.strip() else row for row in entry.splitlines(keepends=True)]
    return "".join([*rows[:line], *own, *rows[line:]])


def _end(node: yaml.Node) -> int:
    """Return the line, from 1, on which the last value of a block stands.

    Its own end mark is where the next key begins, behind comments that may belong to that one.
    """
    if isinstance(node, yaml.MappingNode) and node.value and not node.flow_style:
        return _end(node.value[-1][1])
    if isinstance(node, yaml.SequenceNode) and node.value and not node.flow_style:
        return _end(node.value[-1])
    return node.end_mark.line + (1 if node.end_mark.column else 0)


def _walk(node: yaml.Node | None, above: Keys = ()) -> Iterator[tuple[Keys, yaml.Node, yaml.Node]]:
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        keys = (*above, str(key.value))
        yield keys, key, value
        yield from _walk(value, keys)
