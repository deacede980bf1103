"""From a file to a tree: which Conduit protocol a file is in, and reading it.

The formats themselves are in `plain_json` and `conduit_json`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from conduit_relay import conduit_json, plain_json
from conduit_relay.node import DataError, Node

READERS: dict[str, Callable[[Any], Node]] = {
    "json": plain_json.parse,
    "conduit_json": conduit_json.parse,
    "conduit_base64_json": conduit_json.parse_base64,
}
# The extensions from which Conduit's own identify_protocol() chooses; anything else is conduit_bin.
EXTENSIONS = {
    "json": "json",
    "conduit_json": "conduit_json",
    "conduit_base64_json": "conduit_base64_json",
    "yaml": "yaml",
    "h5": "hdf5",
    "hdf5": "hdf5",
    "silo": "conduit_silo",
    "bp": "adios",
    "adios": "adios",
    "csv": "csv",
}


def check_protocol(protocol: str) -> None:
    """Raise DataError when this viewer can't read the protocol."""
    if protocol not in READERS:
        raise DataError(
            f'protocol "{protocol}" is not supported: this viewer reads {", ".join(READERS)}; '
            "convert the file with conduit_relay_io_convert"
        )


def load(path: Path, protocol: str | None = None) -> tuple[str, Node]:
    """Read a data file; return the protocol it is in and its tree.

    Raises:
        DataError: it can't be read, or is not what the protocol says.
    """
    if protocol:
        check_protocol(protocol)
    text = _read(path)
    suffix = path.suffix.removeprefix(".").lower()
    named = protocol or EXTENSIONS.get(suffix)
    if named and named not in READERS:
        check_protocol(named)
    if not named and text.lstrip()[:1] not in ("{", "["):
        raise DataError(
            f"cannot tell the protocol of {path}: it is not JSON and its extension "
            f'"{path.suffix}" is not known; pass --protocol ({", ".join(READERS)})'
        )
    try:
        document = json.loads(text)
        chosen = protocol or (identify(document) if named in (None, "json") else str(named))
        return chosen, READERS[chosen](document)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path} is not valid JSON: {error.msg} at line {error.lineno} column {error.colno}; "
            "is it complete, and is --protocol right?"
        ) from None
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except ValueError as error:  # an integer with more digits than Python converts
        raise DataError(f"{path} is not valid JSON: {error}") from None
    except (RecursionError, MemoryError) as error:
        raise DataError(
            f"{path} is nested too deeply or too large: {type(error).__name__}"
        ) from None


def identify(document: Any) -> str:
    """Tell the JSON protocols apart by content: all three are often saved as `.json`."""
    if isinstance(document, dict) and "schema" in document:
        data = document.get("data")
        if isinstance(data, dict) and "base64" in data:
            return "conduit_base64_json"
    # The first leaf decides: in conduit_json every leaf is an object that names its dtype.
    while isinstance(document, dict | list) and document:
        if conduit_json.is_leaf(document):
            return "conduit_json"
        document = next(iter(document.values() if isinstance(document, dict) else document))
    return "json"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        reason = (
            "no such file; inside a container only mounted directories are visible: "
            "add the file's directory with --mount"
        )
    except IsADirectoryError:
        reason = "it is a directory; name one data file in it"
    except PermissionError:
        reason = "permission denied; the server runs without privileges: make the file readable"
    except UnicodeDecodeError as error:
        reason = f"it is not UTF-8 text (byte {error.start}); pass a JSON file"
    except OSError as error:
        reason = f"{error.strerror}; check the path"
    raise DataError(f"cannot read {path}: {reason}")
