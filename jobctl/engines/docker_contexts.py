"""The contexts of the ``docker`` command, as it keeps them: names for engines, some with TLS.

Not through the SDK, which looks in the current directory if there is no ``config.json``.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from docker.tls import TLSConfig

from jobctl.errors import EngineUnreachable

DEFAULT = "default"
"""What the command calls it when no context is chosen."""


class Context(NamedTuple):
    """Where a context leads; ``tls`` is for the SDK."""

    host: str
    tls: Any = False


def active() -> str:
    """Return the name of the context that is in force where none is named."""
    if named := os.environ.get("DOCKER_CONTEXT"):
        return named
    try:
        settings = json.loads((_directory() / "config.json").read_bytes())
        return str(settings.get("currentContext") or DEFAULT)
    except (OSError, ValueError, AttributeError):
        return DEFAULT


def names() -> list[str]:
    """Return the names of all contexts, first that of no choice.

    One whose file is damaged has none: what stands for it leads nowhere.
    """
    found = [DEFAULT]
    for path in sorted((_directory() / "contexts/meta").glob("*/meta.json")):
        try:
            found.append(str(json.loads(path.read_bytes())["Name"]))
        except (OSError, ValueError, KeyError, TypeError):
            found.append(str(path))
    return found


def load(name: str) -> Context:
    """Return a context.

    Raises:
        EngineUnreachable: there is none of that name, or it can't be used.
        TLSParameterError: its certificates can't be used.
    """
    own = hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()
    try:
        said = json.loads((_directory() / "contexts/meta" / own / "meta.json").read_bytes())
        endpoint = said["Endpoints"]["docker"]
        host, unverified = str(endpoint["Host"]), bool(endpoint.get("SkipTLSVerify"))
    except FileNotFoundError:
        raise EngineUnreachable(
            f'there is no context "{name}"; see: docker context ls, and: docker context create'
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EngineUnreachable(
            f'the context "{name}" can\'t be used: {error}; see: docker context inspect {name}'
        ) from None
    return Context(host, _tls(_directory() / "contexts/tls" / own / "docker", not unverified))


def _tls(directory: Path, verify: bool) -> TLSConfig | bool:
    authority, certificate, key = (directory / f"{one}.pem" for one in ("ca", "cert", "key"))
    if not directory.is_dir():
        return False
    return TLSConfig(
        client_cert=(str(certificate), str(key)) if certificate.exists() else None,
        ca_cert=str(authority) if authority.exists() else None,
        verify=verify,
    )


def _directory() -> Path:
    return Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
