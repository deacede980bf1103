"""Which engine to talk to: the one that the ``docker`` command would use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docker.context import ContextAPI
from docker.utils import kwargs_from_env

from jobctl.engines.docker import DockerEngine
from jobctl.errors import EngineUnreachable

_DEFAULT_SOCKETS = ("unix:///var/run/docker.sock", "http+unix:///var/run/docker.sock")


def connect() -> DockerEngine:
    """Return the engine that the ``docker`` command would use.

    That is ``DOCKER_HOST``, else the active context, else the first of the usual sockets that
    answers (https://docs.docker.com/engine/manage-resources/contexts/).

    Raises:
        EngineUnreachable: none answers; the message lists what was tried and what to do.
    """
    tried = []
    for endpoint, tls in _endpoints():
        try:
            return DockerEngine(endpoint, tls=tls)
        except EngineUnreachable as error:
            tried.append(str(error))
    raise EngineUnreachable("no container engine answers; tried " + "; ".join(tried) + _advice())


def _endpoints() -> Iterator[tuple[str, Any]]:
    if host := os.environ.get("DOCKER_HOST"):
        tls = kwargs_from_env().get("tls", False)
        yield host, tls
        return
    chosen = ContextAPI.kwargs_from_context()
    if chosen and chosen["base_url"] not in _DEFAULT_SOCKETS:
        yield chosen["base_url"], chosen.get("tls", False)
        return
    runtime = os.environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}")
    yield _DEFAULT_SOCKETS[0], False
    for path in (Path(runtime, "docker.sock"), Path.home() / ".docker/run/docker.sock"):
        if path.exists():
            yield f"unix://{path}", False


def _advice() -> str:
    if "DOCKER_HOST" in os.environ:
        return ". Mend DOCKER_HOST, or unset it to use the engine of this host"
    if os.getuid() == 0:
        return ". Install and start one with: make engine (Debian, Ubuntu), or set DOCKER_HOST"
    return (
        ". Ask an administrator to install Docker and to add you to the group docker, run a "
        "rootless engine of your own (dockerd-rootless-setuptool.sh install), or set DOCKER_HOST"
    )
