"""Which engine to talk to: the one that the ``docker`` command would use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from docker.context import ContextAPI
from docker.context.config import get_current_context_name
from docker.errors import TLSParameterError
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
    try:
        for endpoint in _endpoints():
            try:
                return DockerEngine(endpoint.url, tls=endpoint.tls, chosen_by=endpoint.chosen_by)
            except EngineUnreachable as error:
                tried.append(str(error))
    except TLSParameterError as error:
        tried.append(f"{os.environ.get('DOCKER_HOST')} ({error})")
    raise EngineUnreachable("no container engine answers; tried " + "; ".join(tried) + _advice())


class _Endpoint(NamedTuple):
    """Where an engine may answer, and what named it."""

    url: str
    chosen_by: str
    tls: Any = False


def _endpoints() -> Iterator[_Endpoint]:
    if host := os.environ.get("DOCKER_HOST"):
        yield _Endpoint(host, "DOCKER_HOST", kwargs_from_env().get("tls", False))
        return
    chosen = ContextAPI.kwargs_from_context()
    if chosen and chosen["base_url"] not in _DEFAULT_SOCKETS:
        name = os.environ.get("DOCKER_CONTEXT") or get_current_context_name()
        yield _Endpoint(chosen["base_url"], f"the context {name}", chosen.get("tls", False))
        return
    runtime = os.environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}")
    yield _Endpoint(_DEFAULT_SOCKETS[0], "the usual place")
    for path in (Path(runtime, "docker.sock"), Path.home() / ".docker/run/docker.sock"):
        if path.exists():
            yield _Endpoint(f"unix://{path}", "the usual place of a rootless engine")


def _advice() -> str:
    if "DOCKER_HOST" in os.environ:
        return ". Mend DOCKER_HOST, or unset it to use the engine of this host"
    if os.getuid() == 0:
        return ". Install and start one with: make engine (Debian, Ubuntu), or set DOCKER_HOST"
    return (
        ". Ask an administrator to install Docker and to add you to the group docker, run a "
        "rootless engine of your own (dockerd-rootless-setuptool.sh install), or set DOCKER_HOST"
    )
