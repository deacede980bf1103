"""The `json` protocol: a plain JSON tree, with types chosen as Conduit chooses them."""

from __future__ import annotations

from typing import Any

import numpy as np

from conduit_relay.node import DataError, Leaf, Node

MAX_DEPTH = 200
_NUMBERS = {int, float}


def parse(document: Any, depth: int = 0) -> Node:
    """Turn what `json.loads` returned into a tree: numbers become 64-bit leaves, bools uint8.

    A list of numbers becomes one array leaf; any other list stays a list.

    Raises:
        DataError: nested deeper than MAX_DEPTH.
    """
    if depth > MAX_DEPTH:
        raise DataError(f"nested deeper than {MAX_DEPTH} levels; flatten the tree")
    if isinstance(document, dict):
        return {name: parse(value, depth + 1) for name, value in document.items()}
    if isinstance(document, list):
        if document and set(map(type, document)) <= _NUMBERS:
            return numeric_leaf(document)
        return [parse(value, depth + 1) for value in document]
    if isinstance(document, bool):
        return Leaf(np.array([document], dtype=np.uint8))
    if isinstance(document, int | float):
        return numeric_leaf([document])
    return Leaf(document)


def numeric_leaf(values: list[Any]) -> Leaf:
    """Make a leaf of int64 if all values are, else of uint64, else of float64."""
    if float not in set(map(type, values)):
        for dtype in (np.int64, np.uint64):
            try:
                return Leaf(np.array(values, dtype=dtype))
            except OverflowError:
                continue
    try:
        return Leaf(np.array(values, dtype=np.float64))
    except OverflowError:
        raise DataError("an integer is too large for float64; store it as a string") from None
