"""The reference of ``config.yaml``, from the schema that checks it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from jobctl.jsonschema import schema
from jobctl.schema import EXPECTED

HEAD = """# config.yaml

<!-- Made by `make reference` from jobctl/schema.py; changes belong there. -->

The file in force is the first of: `--config FILE`, `$JOBCTL_CONFIG`,
`$XDG_CONFIG_HOME/jobctl/config.yaml` (`~/.config` unless it is set), `/etc/jobctl/config.yaml`, the
one that comes with jobctl. The current directory is never looked at: a configuration names programs
to run. `jobctl config show` prints each value in force and where it came from.

A file has three keys, all optional: `include`, `general` and `apps`. Relative paths count from the
file's own directory. Values are checked when the file is read, and what is wrong is told by file
and key, as in `config.yaml: apps.conduit.app_port: expected int, got str "ninety"`.

```yaml
include: [shipped]      # the apps that come with jobctl

general:
  port_range: [8000, 8999]

apps:
  notes:                # up to 40 lower-case letters, digits, dashes and underscores
    image: registry.example.org/team/notes:1.4
    app_port: 3000
```
"""
PARTS = {
    "General": ("general", "Where jobs are recorded, and which ports they may have."),
    "Section": (
        "apps.NAME",
        "One app each. Any further key is handed to the app's module untouched.",
    ),
    "Build": ("apps.NAME.build", "What an image is made of, in place of a Dockerfile."),
}
_TYPES = {"boolean": "`true` or `false`", "null": "`null`", "object": "a mapping"}


def config_page() -> str:
    """Return the reference, as Markdown."""
    made = schema()
    parts = [HEAD, "## include\n", f"{made['properties']['include']['description']}\n"]
    for part, (title, about) in PARTS.items():
        parts += [f"## {title}\n", f"{about}\n", _table(made["$defs"][part]["properties"])]
    return "\n".join(parts)


def _table(properties: Mapping[str, Any]) -> str:
    rows = [
        f"| `{key}` | {cell(said['description'])} | {cell(_kind(said))} | {_default(said)} |"
        for key, said in properties.items()
    ]
    return "\n".join(["| key | | value | default |", "|---|---|---|---|", *rows]) + "\n"


def _default(said: Mapping[str, Any]) -> str:
    return f"`{json.dumps(said['default'])}`" if "default" in said else ""


def _kind(said: Mapping[str, Any]) -> str:
    """Return in words what a value may be."""
    if "anyOf" in said:
        return ", or ".join(dict.fromkeys(_kind(one) for one in said["anyOf"]))
    if "enum" in said:
        return " or ".join(f"`{value}`" for value in said["enum"])
    if "$ref" in said:
        return f"see [below](#appsname{said['$ref'].rpartition('/')[2].lower()})"
    if said.get("type") in ("integer", "number"):
        return _number(said)
    if said.get("type") == "array":
        if "prefixItems" in said:
            return "a list of two: " + ", ".join(_kind(one) for one in said["prefixItems"])
        return f"a list of: {_kind(said['items'])}"
    if said.get("type") == "object" and "additionalProperties" in said:
        return f"a mapping of names to: {_kind(said['additionalProperties'])}"
    expected = EXPECTED.get(said.get("pattern", ""), "text")
    return _TYPES.get(said["type"]) or ("text" if expected.startswith("text ") else expected)


def _number(said: Mapping[str, Any]) -> str:
    name = "a whole number" if said["type"] == "integer" else "a number"
    low, above, high = (said.get(key) for key in ("minimum", "exclusiveMinimum", "maximum"))
    bounds = [
        f"above {above}" if above is not None else f"from {low}" if low is not None else "",
        f"up to {high}" if high is not None else "",
    ]
    return " ".join(filter(None, [name, *bounds]))


def cell(text: str) -> str:
    """Return text that is no markup and does not end a cell of a table."""
    return text.replace("|", "\\|").replace("<", "&lt;")
