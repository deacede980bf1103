"""The typed protocols: `conduit_json` (values inside the schema) and `conduit_base64_json`.

Each leaf is an object such as `{"dtype": "int8", "number_of_elements": 3, "value": [1, 2, 3]}`; in
base64 files the values are in one buffer, and a leaf says at which offset and stride.
"""

from __future__ import annotations

import base64
import binascii
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from conduit_relay.node import EMPTY, NUMERIC, STRING, DataError, Leaf, Node
from conduit_relay.plain_json import MAX_DEPTH

_DTYPES = NUMERIC | {STRING, EMPTY}
_LeafReader = Callable[[str, dict[str, Any]], Leaf]


def is_leaf(document: Any) -> bool:
    """Tell whether an object of the file describes a leaf."""
    return (
        isinstance(document, dict)
        and (dtype := document.get("dtype")) in _DTYPES
        and (
            dtype == EMPTY
            or not document.keys().isdisjoint(("value", "number_of_elements", "length"))
        )
    )


def parse(document: Any) -> Node:
    """Read a `conduit_json` document.

    Raises:
        DataError: a leaf has an unknown dtype, no value, or a value that doesn't fit.
    """
    return _walk(document, "", _inline_leaf)


def parse_base64(document: Any) -> Node:
    """Read a `conduit_base64_json` document: a schema, and a buffer that its leaves point into.

    Raises:
        DataError: a part is missing, or a leaf lies outside the buffer.
    """
    try:
        schema, encoded = document["schema"], document["data"]["base64"]
        buffer = base64.b64decode(encoded, validate=True)
    except (TypeError, LookupError):
        raise DataError("conduit_base64_json needs the keys schema and data/base64") from None
    except binascii.Error as error:
        raise DataError(f"data/base64 is not base64: {error}") from None
    return _walk(schema, "", _BufferReader(buffer))


def _walk(document: Any, path: str, read_leaf: _LeafReader) -> Node:
    if path.count("/") > MAX_DEPTH:
        raise DataError(f"nested deeper than {MAX_DEPTH} levels; flatten the tree")
    if isinstance(document, dict) and isinstance(document.get("dtype"), str):
        return read_leaf(path, document)
    if isinstance(document, dict) and "dtype" not in document:
        return {name: _walk(child, f"{path}/{name}", read_leaf) for name, child in document.items()}
    if isinstance(document, list):
        return [_walk(child, f"{path}/[{i}]", read_leaf) for i, child in enumerate(document)]
    if isinstance(document, str):
        return read_leaf(path, {"dtype": document})
    raise DataError(f'at "{path}": expected a leaf with a dtype, got {str(document)[:40]}')


def _checked_dtype(path: str, leaf: dict[str, Any]) -> str:
    dtype = str(leaf["dtype"])
    if dtype not in _DTYPES:
        raise DataError(
            f'at "{path}": unknown dtype "{dtype}"; known are {", ".join(sorted(_DTYPES))}'
        )
    return dtype


def _element_count(path: str, leaf: dict[str, Any], default: int) -> int:
    # "length" is how older Conduit versions spelled it.
    count = leaf.get("number_of_elements", leaf.get("length", default))
    if not isinstance(count, int) or count < 0:
        raise DataError(f'at "{path}": number_of_elements must be a count, got "{count}"')
    return count


def _inline_leaf(path: str, leaf: dict[str, Any]) -> Leaf:
    dtype = _checked_dtype(path, leaf)
    value = leaf.get("value")
    if dtype == EMPTY or (dtype in NUMERIC and value is None and "value" in leaf):
        return Leaf(None)
    if dtype == STRING and isinstance(value, str):
        return Leaf(value)
    values = value if isinstance(value, list) else [] if value is None else [value]
    expected = _element_count(path, leaf, default=max(1, len(values)))
    if dtype == STRING or len(values) != expected:
        raise DataError(
            f'at "{path}": expected {expected} {dtype} in "value", got {len(values)}; '
            "a schema without its data can't be shown"
        )
    try:
        # Conduit writes what JSON lacks as strings, "nan" and "inf", and numpy reads them.
        return Leaf(np.array(values, dtype=dtype))
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(f'at "{path}": a value is not {dtype}: {error}') from None


class _BufferReader:
    """Reads leaves out of one buffer; a leaf without an offset follows the one before."""

    def __init__(self, buffer: bytes) -> None:
        self._buffer = buffer
        self._position = 0

    def __call__(self, path: str, leaf: dict[str, Any]) -> Leaf:
        dtype = _checked_dtype(path, leaf)
        if dtype == EMPTY:
            return Leaf(None)
        element = np.dtype(np.uint8 if dtype == STRING else dtype)
        if leaf.get("endianness", sys.byteorder) != sys.byteorder:
            element = element.newbyteorder()
        count = _element_count(path, leaf, default=1)
        offset = leaf.get("offset", self._position)
        stride = leaf.get("stride", element.itemsize)
        try:
            view: np.ndarray[Any, Any] = np.ndarray(
                (count,), element, self._buffer, offset, (stride,)
            )
        except (ValueError, TypeError, OverflowError):
            raise DataError(
                f'at "{path}": {count} {dtype} at offset {offset} with stride {stride} '
                f"lie outside the {len(self._buffer)} bytes of data/base64"
            ) from None
        self._position = offset + count * stride
        if dtype == STRING:
            return Leaf(view.tobytes().split(b"\0")[0].decode("utf-8", "replace"))
        return Leaf(view.astype(element.newbyteorder("=")))
