"""``config.yaml`` as frozen values: which files count, and what they say together.

What the keys are is in ``jobctl.schema``, how wrong values are told in ``jobctl.validation``.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from jobctl import ownership, yamlfile
from jobctl.errors import JobctlError, UsageError
from jobctl.paths import find, shipped, shipped_file, user_file
from jobctl.schema import APP_NAME, APP_NAME_EXPECTED, Build, File, General, Section, size_of
from jobctl.validation import check

__all__ = ["Build", "Config", "General", "Origin", "Section", "find", "shipped", "user_file"]

SHIPPED = "shipped"
"""In ``include``, the configuration that comes with jobctl."""

MOST_BYTES = 1 << 20
MOST_INCLUDES = 8
_KEYS = set(Section.__struct_fields__) - {"options"}


class Origin(msgspec.Struct, frozen=True):
    """Where an app comes from: a configuration file, and the installed package that brings it."""

    path: Path
    package: str | None = None

    def __str__(self) -> str:
        return f"the package {self.package} ({self.path})" if self.package else str(self.path)


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration in force: a file with what it includes, and the apps of plugins.

    ``origins`` says where each of ``apps`` comes from: its relative paths count from there.
    ``general_origins`` says it of each general setting that is not the default.
    """

    path: Path
    general: General
    general_origins: dict[str, Origin]
    apps: dict[str, Section]
    origins: dict[str, Origin]

    def section(self, app: str) -> Section:
        """Return the section of an app.

        Raises:
            JobctlError: there is none; the message lists those there are.
        """
        if app not in self.apps:
            known = ", ".join(sorted(self.apps)) or "none"
            raise JobctlError(
                f'no app "{app}" in {self.path}; the apps there are: {known}; add one of your own '
                "with: jobctl new"
            )
        return self.apps[app]

    def directories(self) -> list[Path]:
        """Return where ``images/`` may lie, first those that go before the others.

        What comes with jobctl goes before plugins, which can't put a gateway in place of its own.
        """
        mine = [origin.path.parent for origin in self.origins.values() if not origin.package]
        brought = [origin.path.parent for origin in self.origins.values() if origin.package]
        return list(dict.fromkeys([self.path.parent, *mine, shipped(), *brought]))


@dataclass
class _Layer:
    """What one file says, together with all that it includes."""

    general: dict[str, tuple[Any, Origin]] = field(default_factory=dict)
    apps: dict[str, tuple[Section, Origin]] = field(default_factory=dict)

    def add(self, other: _Layer) -> None:
        """Add the apps of another layer, and lay its general settings over these."""
        self.general |= other.general
        for name, (section, origin) in other.apps.items():
            _, before = self.apps.get(name, (section, origin))
            if before != origin:
                raise JobctlError(
                    f'two sources have an app "{name}": {before} and {origin}; rename one of '
                    "them, or leave one source out"
                )
            self.apps[name] = section, origin


def load(path: Path) -> Config:
    """Read and check a configuration file and what it includes.

    Plugins come with ``catalogue``: most commands ask for no app.

    Raises:
        JobctlError: it can't be read or says something that it can't say; the message carries the
            file and the path of the key, as in
            ``config.yaml: apps.conduit.app_port: expected int, got str "ninety"``.
    """
    layer = _read(Origin(path))
    general = _general({key: value for key, (value, _) in layer.general.items()}, path)
    origins = {key: origin for key, (_, origin) in layer.general.items()}
    return _with_apps(
        Config(path=path, general=general, general_origins=origins, apps={}, origins={}),
        layer.apps,
    )


def in_force() -> Config:
    """Read and check the configuration that the command line would use."""
    return load(find())


def catalogue(config: Config, plugins: Iterable[Origin] = ()) -> Config:
    """Return a configuration with the apps of ``plugins`` too, and those only that it offers.

    Raises:
        JobctlError: a plugin's file is wrong, two sources have an app of one name, or one that
            is to be offered does not exist.
    """
    layer = _Layer(apps={app: (config.apps[app], config.origins[app]) for app in config.apps})
    for origin in plugins:
        layer.add(_read(origin))
    apps = _offered(layer.apps, config.general.application_options, config.path)
    return _with_apps(config, apps)


def override(app: str, section: Section, changes: Mapping[str, Any]) -> Section:
    """Return a section with some keys changed for one job, checked as in a file.

    Raises:
        UsageError: a value is wrong, or the values don't go together.
    """
    if not changes:
        return section
    # Options stay as the file has them, dates too.
    own = msgspec.to_builtins(msgspec.structs.replace(section, options={}))
    del own["options"]
    try:
        return _section(app, {**section.options, **own, **changes}, "command line")
    except JobctlError as error:
        raise UsageError(str(error)) from None


def _read(origin: Origin, above: tuple[Path, ...] = ()) -> _Layer:
    path = origin.path
    raw = yamlfile.parse(_bytes(origin), path)
    said: File = check(raw, File, path, ())
    layer = _Layer()
    if said.include and len(above) >= MOST_INCLUDES:
        raise JobctlError(
            f"{path}: include: more than {MOST_INCLUDES} files include each other; leave some out"
        )
    for name in dict.fromkeys(said.include or ()):
        included = _included(name, path)
        if os.path.realpath(included) in map(os.path.realpath, (*above, path)):
            raise JobctlError(
                f'{path}: include: "{name}" includes this file in turn; leave one of them out'
            )
        layer.add(_read(Origin(included, origin.package), (*above, path)))
    general = _general(said.general or {}, path)
    sections = {name: _section(name, values, path) for name, values in (said.apps or {}).items()}
    apps = {name: (section, origin) for name, section in sections.items()}
    layer.add(_Layer({key: (value, origin) for key, value in (said.general or {}).items()}, apps))
    if above or origin.package:
        # What a file offers holds for its own apps, not for those of who includes it.
        layer.apps = _offered(layer.apps, general.application_options, path)
        layer.general.pop("application_options", None)
    return layer


def _bytes(origin: Origin) -> bytes:
    """Return what is in a configuration file; it names programs to run, as do those of an app."""
    path = origin.path
    try:
        if origin.package or path.parent == shipped():
            # Who can write these can write the code beside them, which is running already.
            return ownership.read_plain(path, most=MOST_BYTES)
        return ownership.read(path, most=MOST_BYTES)
    except OSError as error:
        raise JobctlError(
            f"{path}: can't read it: {error.strerror}; mend that, or name another file"
        ) from None


def _with_apps(config: Config, apps: dict[str, tuple[Section, Origin]]) -> Config:
    return msgspec.structs.replace(
        config,
        apps={name: section for name, (section, _) in apps.items()},
        origins={name: origin for name, (_, origin) in apps.items()},
    )


def _included(name: str, path: Path) -> Path:
    if name == SHIPPED:
        return shipped_file()
    try:
        return path.parent / Path(name).expanduser()
    except RuntimeError:
        raise JobctlError(
            f'{path}: include: "{name}": there is no such user; write the path out'
        ) from None


def _general(values: Mapping[str, Any], path: Path) -> General:
    general: General = check(values, General, path, ("general",))
    try:
        if general.bind_address != "localhost":
            ipaddress.ip_address(general.bind_address.replace("%", " "))  # no zones
    except ValueError:
        raise JobctlError(
            f"{path}: general.bind_address: expected an IP address such as 127.0.0.1, got "
            f'"{general.bind_address}"'
        ) from None
    low, high = general.port_range
    if low > high:
        raise JobctlError(f"{path}: general.port_range: {low} is above {high}; swap the two")
    return general


def _section(name: str, raw: Any, path: object) -> Section:
    if re.fullmatch(APP_NAME, name) is None:
        raise JobctlError(
            f'{path}: apps: "{name}" can\'t be the name of an app; expected {APP_NAME_EXPECTED}'
        )
    values = check(raw, dict[str, Any], path, ("apps", name))
    given = {key: value for key, value in values.items() if key in _KEYS}
    options = {key: value for key, value in values.items() if key not in _KEYS}
    section: Section = check(given | {"options": options}, Section, path, ("apps", name))
    return section


def _offered(
    apps: dict[str, tuple[Section, Origin]], options: list[str] | None, path: Path
) -> dict[str, tuple[Section, Origin]]:
    if options is None:
        return apps
    for name in options:
        if name not in apps:
            raise JobctlError(
                f"{path}: general.application_options: no section apps.{name}; add it, or leave "
                "that out"
            )
    return {name: apps[name] for name in options}


def bytes_of(size: str) -> int:
    """Return the bytes in a ``Size`` such as ``512m``.

    Raises:
        JobctlError: ``size`` is not one.
    """
    try:
        return size_of(size)
    except ValueError as error:
        raise JobctlError(str(error)) from None
