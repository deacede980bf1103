"""``config.yaml`` as frozen values: finds the file, checks every value, names the key in errors."""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import yaml

from jobctl.errors import JobctlError

_APP_NAME = r"[a-z0-9][a-z0-9_-]{0,39}"
_SIZE = r"([1-9][0-9]*)([kKmMgG]?)"

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
# Ports below 1024 are for root; the engine could bind them for anybody, which is no reason to.
HostPort = Annotated[int, msgspec.Meta(ge=1024, le=65535)]
Size = Annotated[str, msgspec.Meta(pattern=f"^{_SIZE}$")]
Realm = Annotated[str, msgspec.Meta(pattern=r'^[^\x00-\x1f\x7f-\U0010ffff"\\:]+$')]
AbsolutePath = Annotated[str, msgspec.Meta(pattern=r"^/")]
_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}


class General(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section ``general``: where jobs are recorded and which ports they may have."""

    user_dir_base: str | None = None
    port_range: tuple[HostPort, HostPort] = (8000, 10000)
    bind_address: str = "127.0.0.1"
    engine: Literal["docker"] = "docker"
    application_options: list[str] | None = None


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """One app. The first six keys are the documented ones; ``options`` holds any further key.

    ``memory`` is a number of bytes with ``k``, ``m`` or ``g`` behind it, ``cpus`` counts cores,
    ``stop_grace`` and ``launch_timeout`` are seconds.
    """

    require_password: bool = True
    hash_algorithm: Literal["apache_md5_digest", "bcrypt"] = "apache_md5_digest"
    server_path: str = ""
    app_module_path: str | None = None
    app_module: str | None = None
    protocol: Literal["https"] = "https"

    image: str | None = None
    secured_by: Literal["gateway", "app"] = "gateway"
    app_port: Port = 9000
    realm: Realm | None = None
    ready_path: AbsolutePath = "/"
    launch_timeout: Annotated[float, msgspec.Meta(gt=0)] = 60
    allow_open: bool = False
    mount_cwd: Literal["ro", "rw"] | None = None
    memory: Size = "1g"
    cpus: Annotated[float, msgspec.Meta(gt=0, le=4096)] = 2
    pids: Annotated[int, msgspec.Meta(ge=1)] = 512
    stop_grace: Annotated[int, msgspec.Meta(ge=0)] = 10
    healthcheck: list[str] | None = None
    read_only: bool = True
    cap_add: list[str] = []
    options: dict[str, Any] = {}


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """A whole configuration and the file that it came from."""

    path: Path
    general: General
    apps: dict[str, Section]

    def section(self, app: str) -> Section:
        """Return the section of an app.

        Raises:
            JobctlError: there is none; the message lists those there are.
        """
        if app not in self.apps:
            known = ", ".join(sorted(self.apps)) or "none"
            raise JobctlError(f'no app "{app}" in {self.path}; the apps there are: {known}')
        return self.apps[app]


def shipped() -> Path:
    """Return the directory of what comes with jobctl: config.yaml, app_modules/, images/."""
    installed = Path(__file__).parent / "shipped"
    return installed if installed.is_dir() else Path(__file__).parent.parent


def find(explicit: str | None = None) -> Path:
    """Return the configuration file in force.

    That is ``explicit``, ``$JOBCTL_CONFIG``, the user's, the system's or the shipped one. Never
    one of the current directory, since a configuration names Python files to run.
    """
    for named in (explicit, os.environ.get("JOBCTL_CONFIG")):
        if named:
            return Path(named).absolute()
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    for candidate in (Path(home, "jobctl/config.yaml"), Path("/etc/jobctl/config.yaml")):
        if candidate.is_file():
            return candidate
    return shipped() / "config.yaml"


def load(path: Path) -> Config:
    """Read and check a configuration file.

    Raises:
        JobctlError: it can't be read or says something that it can't say; the message carries the
            file and the path of the key, as in
            ``config.yaml: apps.conduit.app_port: expected int, got str "ninety"``.
    """
    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        raw = yaml.load(path.read_bytes(), Loader=loader)  # noqa: S506, both are safe loaders
    except OSError as error:
        raise JobctlError(f"{path}: can't read it: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise JobctlError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    parsed = _check(raw, dict[Literal["general", "apps"], Any], path, ())
    general = _check(parsed.get("general") or {}, General, path, ("general",))
    sections = _check(parsed.get("apps") or {}, dict[str, Any], path, ("apps",))
    apps = {name: _section(name, values, path) for name, values in sections.items()}
    try:
        if general.bind_address != "localhost":
            ipaddress.ip_address(general.bind_address)
    except ValueError:
        raise JobctlError(
            f"{path}: general.bind_address: expected an IP address such as 127.0.0.1, got "
            f'"{general.bind_address}"'
        ) from None
    low, high = general.port_range
    if low > high:
        raise JobctlError(f"{path}: general.port_range: {low} is above {high}")
    return Config(path=path, general=general, apps=_chosen(apps, general, path))


def _section(name: str, raw: Any, path: Path) -> Section:
    if re.fullmatch(_APP_NAME, name) is None:
        raise JobctlError(
            f'{path}: apps: "{name}" can\'t be the name of an app; expected up to 40 lower-case '
            "letters, digits, dashes and underscores"
        )
    values = _check(raw, dict[str, Any], path, ("apps", name))
    known = set(Section.__struct_fields__) - {"options"}
    given = {key: value for key, value in values.items() if key in known}
    options = {key: value for key, value in values.items() if key not in known}
    section: Section = _check(given | {"options": options}, Section, path, ("apps", name))
    return section


def _chosen(apps: dict[str, Section], general: General, path: Path) -> dict[str, Section]:
    if general.application_options is None:
        return apps
    for name in general.application_options:
        if name not in apps:
            raise JobctlError(f"{path}: general.application_options: no section apps.{name}")
    return {name: apps[name] for name in general.application_options}


def _check(raw: Any, kind: Any, path: Path, keys: tuple[str, ...]) -> Any:
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        message, inner = _split(str(error))
        where = ".".join([*keys, *inner]) or "the whole file"
        got = _lookup(raw, inner)
        shown = (
            ""
            if got is raw
            else f", got {type(got).__name__} {msgspec.json.encode(got, enc_hook=str).decode()}"
        )
        raise JobctlError(f"{path}: {where}: {message}{shown}") from None


def _split(message: str) -> tuple[str, list[str]]:
    """Split msgspec's ``Expected `int`, got `str` - at `$.a[0]``` into words and a path."""
    words, _, where = message.partition(" - at `")
    words = words.split(", got ")[0].replace("`", "")
    keys = re.findall(r"\.([^.\[\]`]+)|\[(\d+|\.\.\.)\]", where)
    return words[:1].lower() + words[1:], [name or index for name, index in keys]


def _lookup(raw: Any, keys: list[str]) -> Any:
    for key in keys:
        try:
            raw = raw[int(key)] if isinstance(raw, list) else raw[key]
        except (KeyError, IndexError, TypeError, ValueError):
            break
    return raw


def bytes_of(size: str) -> int:
    """Return the bytes in a ``Size`` such as ``512m``.

    Raises:
        JobctlError: ``size`` is not one.
    """
    match = re.fullmatch(_SIZE, size)
    if match is None:
        raise JobctlError(f'"{size}" is not a size; expected a number with k, m or g, as in 512m')
    return int(match[1]) * _UNITS[match[2].lower()]
