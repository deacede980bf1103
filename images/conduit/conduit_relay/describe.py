"""What clients are told about nodes: rows of the tree, details of one node, Conduit's schema.

Everything returned can go through `json.dumps` and parses in a browser: no NaN, no infinity.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np

from conduit_relay.arrays import statistics
from conduit_relay.node import Leaf, Node, children, fetch, join

_PREVIEW = 6  # elements shown of an array
_PREVIEW_CHARACTERS = 120
_TEXT_CHARACTERS = 65_536


def row(name: str, path: str, node: Node) -> dict[str, Any]:
    """Describe a node in one line of the tree."""
    if isinstance(node, Leaf):
        return {
            "name": name,
            "path": path,
            "kind": "leaf",
            "dtype": node.dtype,
            "count": node.count,
            "value": preview(node),
        }
    kind = "object" if isinstance(node, dict) else "list"
    return {"name": name, "path": path, "kind": kind, "dtype": kind, "count": len(node)}


def preview(leaf: Leaf) -> str:
    """Render a leaf's value in a few words."""
    if isinstance(leaf.data, np.ndarray):
        shown = ", ".join(texts(leaf, 0, _PREVIEW))
        if leaf.count == 1:
            return shown
        return f"[{shown}, …]" if leaf.count > _PREVIEW else f"[{shown}]"
    return "" if leaf.data is None else leaf.data[:_PREVIEW_CHARACTERS]


def texts(leaf: Leaf, offset: int, count: int) -> list[str]:
    """Render a range of elements exactly; as text, since JavaScript would round 64-bit integers."""
    if not isinstance(leaf.data, np.ndarray):
        return []
    return [str(value) for value in leaf.data[offset : offset + count]]


def child_rows(node: Node, path: str, offset: int, limit: int) -> list[dict[str, Any]]:
    """Describe a range of a node's children."""
    window = islice(children(node), offset, offset + limit)
    return [row(name, join(path, name), child) for name, child in window]


def search(root: Node, query: str, limit: int) -> list[dict[str, Any]]:
    """Return rows for the nodes whose name (or path, if the query has a slash) contains the query.

    Their ancestors are in it too, so that the rows draw as a tree; each row has a `level` from 1
    and says whether it `matches`. At most `limit` nodes match.
    """
    wanted = query.lower()
    found: list[dict[str, Any]] = []
    matches = 0

    def visit(node: Node, path: str, ancestors: list[dict[str, Any]]) -> None:
        nonlocal matches
        for name, child in children(node):
            if matches >= limit:
                return
            here = row(name, join(path, name), child) | {"level": len(ancestors) + 1}
            here["matches"] = wanted in (here["path"] if "/" in wanted else name).lower()
            trail = [*ancestors, here]
            if here["matches"]:
                matches += 1
                found.extend(step for step in trail if not step.get("listed"))
                for step in trail:
                    step["listed"] = True
            visit(child, here["path"], trail)

    visit(root, "", [])
    return found


def details(root: Node, path: str) -> dict[str, Any]:
    """Describe one node fully, without its array: that is fetched in parts."""
    node = fetch(root, path)
    told = row(path.rpartition("/")[2], path, node)
    if isinstance(node, Leaf) and isinstance(node.data, np.ndarray):
        told |= {
            "shape": [node.count],
            "bytes": node.data.nbytes,
            "statistics": statistics(node.data),
        }
    elif isinstance(node, Leaf) and isinstance(node.data, str):
        told |= {"value": node.data[:_TEXT_CHARACTERS], "truncated": node.count > _TEXT_CHARACTERS}
    return told


def schema(node: Node) -> Any:
    """Return the node's schema as Conduit writes it."""
    if isinstance(node, Leaf):
        return {"dtype": node.dtype, "number_of_elements": node.count}
    if isinstance(node, dict):
        return {name: schema(child) for name, child in node.items()}
    return [schema(child) for child in node]


def value(node: Node) -> Any:
    """Return the node's value as plain JSON; NaN and infinities are strings, as in Conduit."""
    if isinstance(node, dict):
        return {name: value(child) for name, child in node.items()}
    if isinstance(node, list):
        return [value(child) for child in node]
    if not isinstance(node.data, np.ndarray):
        return node.data
    numbers = list(_json_numbers(node.data))
    return numbers[0] if len(numbers) == 1 else numbers


def _json_numbers(data: np.ndarray[Any, Any]) -> Iterator[Any]:
    finite = data.dtype.kind != "f" or bool(np.isfinite(data).all())
    return (
        iter(data.tolist()) if finite else (v if np.isfinite(v) else str(v) for v in data.tolist())
    )
