"""YAML text: parses it, says on which line a key stands, adds a key without touching the rest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from jobctl.errors import JobctlError

Keys = tuple[str, ...]

MOST_VALUES = 100_000
"""How many values a text may say, each alias counted as what it stands for."""
MOST_LEVELS = 100
MOST_BITS = 64

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Strict(_LOADER):  # type: ignore[misc]
    """A safe loader that takes no key twice, and nothing that grows by being read."""

    def __init__(self, text: str | bytes) -> None:
        super().__init__(text)
        self._flat: set[int] = set()

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Put in what ``<<`` names; the first to see each mapping as it stands in the text."""
        if id(node) not in self._flat:
            self._flat.add(id(node))
            _check_keys(node)
        super().flatten_mapping(node)
        if len(node.value) > MOST_VALUES:
            raise ValueError(_TOO_MANY)


_TOO_MANY = f"it says more than {MOST_VALUES} values, aliases counted; leave some out"


def _check_keys(node: yaml.MappingNode) -> None:
    seen: set[tuple[str, str]] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
            continue
        if (key.tag, key.value) in seen:
            line = key.start_mark.line + 1
            raise ValueError(f'line {line} has the key "{key.value}" once more; remove one of them')
        seen.add((key.tag, key.value))


def parse(text: str | bytes, where: object) -> Any:
    """Return what a YAML text says.

    Raises:
        JobctlError: it is not YAML, names a key twice, or says more than a file can; ``where`` says
            where it stands.
    """
    try:
        _check_depth(text)
        value = yaml.load(text, Loader=_Strict)  # noqa: S506, it is a safe loader
        _weigh(value, {})
    except yaml.YAMLError as error:
        told = " ".join(str(error).split())
        raise JobctlError(f"{where}: not YAML: {told}; mend it there") from None
    except ValueError as error:
        raise JobctlError(f"{where}: not YAML: {error}") from None
    except (LookupError, TypeError, AttributeError):  # how PyYAML fails at !!bool x, for one
        raise JobctlError(
            f"{where}: not YAML: a value is not what its !! says; leave that out"
        ) from None
    return value


def _check_depth(text: str | bytes) -> None:
    """Refuse what stands in too many others: libyaml's composer would overflow the stack."""
    level = 0
    for event in yaml.parse(text, Loader=_LOADER):
        level += isinstance(event, yaml.CollectionStartEvent)
        level -= isinstance(event, yaml.CollectionEndEvent)
        if level > MOST_LEVELS:
            raise ValueError(f"it is nested more than {MOST_LEVELS} levels deep; leave some out")


def _weigh(value: Any, known: dict[int, int]) -> int:
    """Return how many values there are in ``value`` when it is written out without aliases."""
    if isinstance(value, int) and value.bit_length() > MOST_BITS:
        raise ValueError(f"it has a number of more than {MOST_BITS} bits; write it as text")
    if not isinstance(value, dict | list | tuple | set):
        return 1
    if id(value) in known:
        if known[id(value)] == 0:
            raise ValueError("an alias names what it stands in; leave it out")
        return known[id(value)]
    known[id(value)] = 0
    parts = [*value, *value.values()] if isinstance(value, dict) else value
    weight = 1 + sum(_weigh(part, known) for part in parts)
    if weight > MOST_VALUES:
        raise ValueError(_TOO_MANY)
    known[id(value)] = weight
    return weight


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
                raise JobctlError(f'"{below}" is no mapping; write it as one')
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
