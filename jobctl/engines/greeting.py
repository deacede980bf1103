"""The version of the engine of this host, asked for without the Docker SDK.

To import that, or ``http.client``, takes longer than all the rest.
"""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

USUAL_SOCKET = "/var/run/docker.sock"
CHUNK_BYTES = 1 << 16


def usual_socket() -> str | None:
    """Return where the engine of this host answers, ``None`` where something may name another."""
    if any(os.environ.get(name) for name in ("DOCKER_HOST", "DOCKER_CONTEXT")):
        return None
    chosen = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker", "config.json")
    if chosen.exists() and "currentContext" in chosen.read_text():
        return None
    return USUAL_SOCKET


def version(path: str, *, timeout: float) -> str:
    """Return the version that an engine tells at a socket, as ``DockerEngine.version`` does.

    Raises:
        OSError, ValueError, LookupError: there is no such answer.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout)
        connection.connect(path)
        connection.sendall(b"GET /version HTTP/1.0\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(CHUNK_BYTES), b""))
    said = json.loads(answer.partition(b"\r\n\r\n")[2])
    return f"{said['Version']} (API {said['ApiVersion']})"
