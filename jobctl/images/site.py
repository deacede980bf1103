"""What a build needs to know of this host: its certificates, package indexes and proxies.

It is handed to builds as files in ``.jobctl-site/`` and as the proxy arguments that every engine
predefines and no image stores. All of it may be secret: nothing here is ever reported.
"""

from __future__ import annotations

import configparser
import os
import re
import shutil
import ssl
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from jobctl.errors import JobctlError

SITE_IN_BUILD = "/tmp/site"  # noqa: S108, the directory is the builder stage's own
"""Where Dockerfiles copy the directory to."""

_PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy")
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
# Settings that mean the same inside a container; others name files and caches of this host.
_PIP_SETTINGS = (
    "index-url",
    "extra-index-url",
    "trusted-host",
    "proxy",
    "timeout",
    "retries",
)
_APT_PROXY = re.compile(r'Acquire::(?:[\w.-]+::)?Proxy(?:::[\w.-]+)? "(.+)";', re.IGNORECASE)


def site_files(environ: Mapping[str, str]) -> dict[str, bytes]:
    """Return the files for builds: ``ca.crt`` (may be empty), ``pip.conf`` and ``apt.conf``.

    Raises:
        JobctlError: the environment or pip's configuration names a file that can't be read.
    """
    bundle = _ca_bundle(environ)
    apt = ['Acquire::Languages "none";', *_apt_proxies()]
    if bundle:
        apt.append(f'Acquire::https::CaInfo "{SITE_IN_BUILD}/ca.crt";')
    return {
        "ca.crt": bundle,
        "pip.conf": _pip_conf(environ).encode(),
        "apt.conf": "".join(f"{line}\n" for line in apt).encode(),
    }


def proxy_args(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the proxies as build arguments that the engine predefines, in both spellings."""
    found: dict[str, str] = {}
    for name in _PROXIES:
        value = environ.get(name) or environ.get(name.upper())
        if value and not _on_loopback(value):
            found |= {name: value, name.upper(): value}
    return found


def apt_proxy_environment() -> dict[str, str]:
    """Return apt's proxies as environment variables, for an apt that reads no file of this host."""
    found = {}
    for scheme in ("http", "https"):
        for line in _apt_config_dump():
            match = re.fullmatch(rf'Acquire::{scheme}::Proxy "(.+)";', line, re.IGNORECASE)
            if match and match[1] != "DIRECT":
                found[f"{scheme}_proxy"] = match[1]
    return found


def _ca_bundle(environ: Mapping[str, str]) -> bytes:
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        if path := environ.get(name):
            try:
                return Path(path).read_bytes()
            except OSError as error:
                raise JobctlError(
                    f'{name} names "{path}", which can\'t be read ({error.strerror}); '
                    "mend or unset it"
                ) from None
    for bundle in (ssl.get_default_verify_paths().cafile, *_BUNDLES):
        if bundle and Path(bundle).is_file():
            return Path(bundle).read_bytes()
    return b""


def _pip_conf(environ: Mapping[str, str]) -> str:
    """Return pip's settings, the later sources over the earlier ones.

    The files and their order: https://pip.pypa.io/en/stable/topics/configuration/.
    """
    settings: dict[str, str] = {}
    for path in _pip_files(environ):
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except (OSError, configparser.Error, UnicodeDecodeError):
            # Not the parser's own words: they quote the line, which may hold a password.
            raise JobctlError(f"can't read pip's configuration \"{path}\"; mend it") from None
        for section in ("global", "install"):
            if parser.has_section(section):
                settings |= dict(parser.items(section))
    settings |= {
        name.removeprefix("PIP_").lower().replace("_", "-"): value
        for name, value in environ.items()
        if name.startswith("PIP_") and value
    }
    lines = ["[global]"]
    for name in _PIP_SETTINGS:
        values = [value for value in settings.get(name, "").split() if _reachable(value)]
        if values:
            lines.append(f"{name} = " + "\n    ".join(values))
    return "\n".join(lines) + "\n"


def _pip_files(environ: Mapping[str, str]) -> list[Path]:
    home = Path(environ.get("HOME") or Path.home())
    user = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    system = (environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(os.pathsep)
    files = [Path(directory) / "pip/pip.conf" for directory in reversed(system)]
    files += [Path("/etc/pip.conf"), home / ".pip/pip.conf", user / "pip/pip.conf"]
    files.append(Path(sys.prefix) / "pip.conf")
    chosen = environ.get("PIP_CONFIG_FILE")
    if chosen == os.devnull:
        return []
    return [path for path in (*files, *([Path(chosen)] if chosen else [])) if path.is_file()]


def _reachable(value: str) -> bool:
    """Return whether a container can make sense of a URL or a number in pip's settings."""
    return not value.startswith(("file:", "/", "./", "../", "~"))


def _apt_proxies() -> list[str]:
    matches = map(_APT_PROXY.fullmatch, _apt_config_dump())
    return [match[0] for match in matches if match and not _on_loopback(match[1])]


def _apt_config_dump() -> list[str]:
    if shutil.which("apt-config") is None:
        return []
    done = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=False)
    return done.stdout.splitlines()


def _on_loopback(url: str) -> bool:
    """Return whether a proxy is this host's own, where a container finds only itself."""
    host = urlsplit(url if "//" in url else f"//{url}").hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")
