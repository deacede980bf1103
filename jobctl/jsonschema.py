"""The JSON Schema of ``config.yaml``, for editors: made from the types that check it."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from jobctl.schema import APP_NAME, General, Include, Section


class _Whole(msgspec.Struct, forbid_unknown_fields=True):
    """A configuration file of jobctl."""

    include: Include = None
    general: General | None = None
    apps: dict[Annotated[str, msgspec.Meta(pattern=f"^{APP_NAME}$")], Section] | None = None


def schema() -> dict[str, Any]:
    """Return the schema, of the dialect 2020-12."""
    made: dict[str, Any] = msgspec.json.schema(_Whole)
    parts = made["$defs"]
    # Any further key is for the app's module; nobody writes a key of this name.
    del parts["Section"]["properties"]["options"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **parts.pop("_Whole"),
        "title": "config.yaml",
        "$defs": parts,
    }
