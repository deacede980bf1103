"""Which engine to talk to: the one that was asked for, else the one the ``docker`` command uses."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from docker.errors import TLSParameterError
from docker.utils import kwargs_from_env

from jobctl.engines import docker_contexts
from jobctl.errors import EngineUnreachable
from jobctl.schema import EngineKind

if TYPE_CHECKING:
    from jobctl.engines.base import Engine

_DEFAULT_SOCKETS = ("unix:///var/run/docker.sock", "http+unix:///var/run/docker.sock")


class Endpoint(NamedTuple):
    """Where an engine may answer, and what named it."""

    url: str
    chosen_by: str
    tls: Any = False
    patience: int | None = None
    """For how many seconds at most a request may take, with nobody asked for anything."""


class Kind(NamedTuple):
    """A kind of engine: what makes its adapter, and where one may answer.

    ``endpoints`` gets the name of a context or ``None``, ``make`` raises ``EngineUnreachable``.
    """

    make: Callable[[Endpoint], Engine]
    endpoints: Callable[[str | None], Iterator[Endpoint]]


def connect(
    kind: EngineKind = "docker", *, context: str | None = None, patience: int | None = None
) -> Engine:
    """Return the engine of a kind that is meant.

    That is the one of ``context``, else of ``DOCKER_HOST``, else of the active context, else the
    first of the usual sockets that answers
    (https://docs.docker.com/engine/manage-resources/contexts/). With ``patience`` it has so many
    seconds for each answer, and nobody is asked for anything on the way there.

    Raises:
        EngineUnreachable: none answers, or there is no such context; the message lists what was
            tried and what to do.
    """
    chosen, tried = KINDS[kind], []
    try:
        for endpoint in chosen.endpoints(context):
            try:
                return chosen.make(endpoint._replace(patience=patience))
            except EngineUnreachable as error:
                tried.append(str(error))
    except TLSParameterError as error:
        tried.append(f"{context or os.environ.get('DOCKER_HOST')} ({error})")
    if context and context != docker_contexts.DEFAULT:
        raise EngineUnreachable(
            f"no container engine answers; tried {'; '.join(tried)}; mend the context {context}, "
            f"or name another; see: docker context inspect {context}"
        )
    if kind == "podman":
        raise EngineUnreachable("no Podman answers; tried " + "; ".join(tried) + _podman_advice())
    raise EngineUnreachable("no container engine answers; tried " + "; ".join(tried) + _advice())


def docker_endpoints(context: str | None) -> Iterator[Endpoint]:
    """Yield where the ``docker`` command would look for its engine, in order."""
    if context and context != docker_contexts.DEFAULT:
        yield _of_context(context)
        return
    if host := os.environ.get("DOCKER_HOST"):
        yield Endpoint(host, "DOCKER_HOST", kwargs_from_env().get("tls", False))
        return
    if not context:
        active = docker_contexts.active()
        if (
            active != docker_contexts.DEFAULT
            and (chosen := _of_context(active)).url not in _DEFAULT_SOCKETS
        ):
            yield chosen
            return
    runtime = os.environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}")
    yield Endpoint(_DEFAULT_SOCKETS[0], "the usual place")
    for path in (Path(runtime, "docker.sock"), Path.home() / ".docker/run/docker.sock"):
        if path.exists():
            yield Endpoint(f"unix://{path}", "the usual place of a rootless engine")


def _of_context(name: str) -> Endpoint:
    chosen = docker_contexts.load(name)
    return Endpoint(chosen.host, f"the context {name}", chosen.tls)


def _advice() -> str:
    if "DOCKER_HOST" in os.environ:
        return ". Mend DOCKER_HOST, or unset it to use the engine of this host"
    if os.getuid() == 0:
        return ". Install and start one with: make engine (Debian, Ubuntu), or set DOCKER_HOST"
    return (
        ". Ask an administrator to install Docker and to add you to the group docker, run a "
        "rootless engine of your own (dockerd-rootless-setuptool.sh install), or set DOCKER_HOST"
    )


def _docker(endpoint: Endpoint) -> Engine:
    from jobctl.engines.docker import DockerEngine

    return DockerEngine(
        endpoint.url,
        tls=endpoint.tls,
        chosen_by=endpoint.chosen_by,
        patience=endpoint.patience,
    )


def podman_endpoints(context: str | None) -> Iterator[Endpoint]:
    """Yield where the ``podman`` command would look for its socket, one's own first.

    That is ``CONTAINER_HOST`` (podman-remote(1)), else where systemd or ``podman system service``
    has it (podman-system-service(1)).
    """
    if context and context != docker_contexts.DEFAULT:
        yield _of_context(context)
        return
    if host := os.environ.get("CONTAINER_HOST"):
        yield Endpoint(host, "CONTAINER_HOST")
        return
    runtime = os.environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}")
    own = Endpoint(f"unix://{runtime}/podman/podman.sock", "the usual place of a rootless Podman")
    if Path(runtime, "podman/podman.sock").exists() or os.getuid() != 0:
        yield own
    yield Endpoint("unix:///run/podman/podman.sock", "the usual place")


def _podman_advice() -> str:
    host = os.environ.get("CONTAINER_HOST", "")
    if host.startswith("ssh://"):
        return (
            ". Podman is reached through a socket of this host; run jobctl on that host, or unset "
            "CONTAINER_HOST"
        )
    if host:
        return ". Mend CONTAINER_HOST, or unset it to use the Podman of this host"
    if os.getuid() == 0:
        return (
            ". Start its socket: systemctl start podman.socket, or without systemd: podman system "
            "service --time=0 unix:///run/podman/podman.sock &"
        )
    return (
        ". Start a socket of your own: systemctl --user start podman.socket, or without systemd: "
        'podman system service --time=0 "unix://$XDG_RUNTIME_DIR/podman/podman.sock" &'
    )


def _podman(endpoint: Endpoint) -> Engine:
    from jobctl.engines.podman import PodmanEngine

    return PodmanEngine(endpoint.url, chosen_by=endpoint.chosen_by, patience=endpoint.patience)


def _swarm(endpoint: Endpoint) -> Engine:
    from jobctl.engines.swarm import SwarmEngine

    return SwarmEngine(endpoint.url, tls=endpoint.tls, chosen_by=endpoint.chosen_by)


# An adapter is imported when one of its kind is asked for. The names are those of ``EngineKind``.
KINDS: Mapping[str, Kind] = {
    "docker": Kind(_docker, docker_endpoints),
    "podman": Kind(_podman, podman_endpoints),
    "swarm": Kind(_swarm, docker_endpoints),
}
