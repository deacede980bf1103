"""The tree in memory: objects, lists and typed leaves, and the paths that name them.

Reading files belongs to `protocols`, describing nodes to a client to `describe`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

NUMERIC = frozenset(
    ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64")
)
STRING = "char8_str"
EMPTY = "empty"


class DataError(Exception):
    """The data file can't be shown. The message is one line and says what to do next."""


class NoSuchPath(LookupError):
    """No node has this path."""

    def __init__(self, path: str) -> None:
        super().__init__(f'no node at path "{path}"')


@dataclass(frozen=True, eq=False)
class Leaf:
    """A Conduit leaf: a 1-D numeric array (scalars have one element), a string, or nothing."""

    data: NDArray[Any] | str | None

    @property
    def dtype(self) -> str:
        """Conduit's name of the type."""
        if self.data is None:
            return EMPTY
        return STRING if isinstance(self.data, str) else self.data.dtype.name

    @property
    def count(self) -> int:
        """The number of elements; for a string, of characters."""
        return 0 if self.data is None else len(self.data)

    def same_as(self, other: Leaf) -> bool:
        """Compare type and values; NaN equals NaN, so that it doesn't count as a change."""
        if isinstance(self.data, np.ndarray) and isinstance(other.data, np.ndarray):
            floats = self.data.dtype.kind == "f"
            return self.dtype == other.dtype and np.array_equal(
                self.data, other.data, equal_nan=floats
            )
        return type(self.data) is type(other.data) and bool(self.data == other.data)


Node: TypeAlias = "Leaf | dict[str, Node] | list[Node]"


def children(node: Node) -> Iterator[tuple[str, Node]]:
    """Yield the name and node of each child; the children of a list are called `[0]`, `[1]`, …"""
    if isinstance(node, dict):
        yield from node.items()
    elif isinstance(node, list):
        yield from ((f"[{index}]", child) for index, child in enumerate(node))


def join(path: str, name: str) -> str:
    """Append a child's name to a path, escaped as in JSON Pointer (RFC 6901).

    `~2` stands for the empty name, which RFC 6901 does not need to escape: here "" is the root.
    """
    segment = name.replace("~", "~0").replace("/", "~1") or "~2"
    return f"{path}/{segment}" if path else segment


def fetch(root: Node, path: str) -> Node:
    """Return the node at a path; a leading slash is allowed, as in Conduit.

    Raises:
        NoSuchPath: nothing is there.
    """
    node = root
    for segment in path.strip("/").split("/") if path.strip("/") else ():
        name = segment.replace("~2", "").replace("~1", "/").replace("~0", "~")
        try:
            node = _child(node, name)
        except LookupError:
            raise NoSuchPath(path) from None
    return node


def _child(node: Node, name: str) -> Node:
    if isinstance(node, dict):
        return node[name]
    # isascii: str.isdigit() also accepts digits that int() does not.
    if isinstance(node, list) and name.isascii() and name[1:-1].isdigit() and name[0] == "[":
        return node[int(name[1:-1])]
    raise LookupError(name)


def changed_paths(old: Node, new: Node, path: str = "") -> Iterator[str]:
    """Yield the paths at which two trees differ: leaves by value, containers by names."""
    if isinstance(old, Leaf) and isinstance(new, Leaf):
        if not old.same_as(new):
            yield path
        return
    if type(old) is not type(new) or _names(old) != _names(new):
        yield path
        return
    for (name, before), (_, after) in zip(children(old), children(new), strict=True):
        yield from changed_paths(before, after, join(path, name))


def _names(node: Node) -> list[str] | int:
    # In file order: a reordered object looks different in the tree.
    return list(node) if isinstance(node, dict) else len(node) if isinstance(node, list) else 0
