"""What is in force and where each value came from: a file with its line, or the default."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from jobctl import yamlfile
from jobctl.config import Config, Origin
from jobctl.schema import General, Section

DEFAULT = "default"


@dataclass(frozen=True)
class Setting:
    """One value in force, by its path in ``config.yaml``."""

    key: str
    value: Any
    source: str


def settings(config: Config) -> Iterator[Setting]:
    """Yield every value in force, the general ones first; ``config`` is a catalogue."""
    files = _Files()
    for name in General.__struct_fields__:
        source = files.source(config.general_origins.get(name), "general", name)
        yield Setting(f"general.{name}", getattr(config.general, name), source)
    for app, section in config.apps.items():
        for name, value in _values(section).items():
            source = files.source(config.origins[app], "apps", app, name)
            yield Setting(f"apps.{app}.{name}", value, source)


def _values(section: Section) -> dict[str, Any]:
    values: dict[str, Any] = msgspec.to_builtins(section)
    options: dict[str, Any] = values.pop("options")
    return values | options


class _Files:
    """The lines of each file, read once."""

    def __init__(self) -> None:
        self._lines: dict[Path, dict[yamlfile.Keys, int]] = {}

    def source(self, origin: Origin | None, *keys: str) -> str:
        if origin is None:
            return DEFAULT
        if origin.path not in self._lines:
            self._lines[origin.path] = yamlfile.lines(origin.path.read_bytes())
        line = self._lines[origin.path].get(keys)
        return DEFAULT if line is None else f"{origin.path}:{line}"
