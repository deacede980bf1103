"""How to get to a job of this host from another machine: what to type there, what to open."""

from __future__ import annotations

import ipaddress
import shlex
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from jobctl import hosts
from jobctl.job import Job, connect_address

_SSH_PORT = "22"


@dataclass(frozen=True)
class Route:
    """The way to a job from another machine."""

    ssh: str
    """What forwards the job's port, typed there."""
    tunnel: str
    """The same with a jobctl there, which also verifies the job."""
    url: str
    """What to open there then."""
    direct: str | None
    """What to open there without all this, if the job is exposed to the network."""


def route(job: Job, environ: Mapping[str, str]) -> Route:
    """Return the way to a job from the machine that its user sits at.

    ``environ`` tells how the user is logged in here, if it is by ssh (``SSH_CONNECTION``, ssh(1)).
    """
    address, port = _address(job, environ), _ssh_port(job, environ)
    there = f"{job.owner}@{address}"
    target = connect_address(job.bind_address)
    exposed = not ipaddress.ip_address(job.bind_address).is_loopback
    target = f"[{target}]" if ":" in target else target
    login = ["-p", port, there] if port != _SSH_PORT else [there]
    options = ["-o", f"Port={port}"] if port != _SSH_PORT else []
    return Route(
        shlex.join(["ssh", "-N", "-L", f"{job.port}:{target}:{job.port}", *login]),
        shlex.join(["jobctl", "tunnel", *options, there, job.job_id]),
        # Browsers look for names below localhost at their own end (RFC 6761, 6.3).
        f"{job.protocol}://job-{job.port}.localhost:{job.port}/",
        (job.open_url or job.url) if exposed else None,
    )


def _address(job: Job, environ: Mapping[str, str]) -> str:
    """Return by which name or address the user's own machine knows the job's host, likely."""
    if job.host != hosts.name():
        return job.host
    known = filter(_leads_here_from_elsewhere, reversed(hosts.names()))
    return next(known, _connection(environ)[2] or hosts.name())


def _leads_here_from_elsewhere(name: str) -> bool:
    """Tell whether a name is more than this host's own, as in Debian's line for 127.0.1.1."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return any(not ipaddress.ip_address(str(one[4][0])).is_loopback for one in found)


def _ssh_port(job: Job, environ: Mapping[str, str]) -> str:
    return (job.host == hosts.name() and _connection(environ)[3]) or _SSH_PORT


def _connection(environ: Mapping[str, str]) -> tuple[str, str, str, str]:
    """Return the client's address and port and the server's, empty without a connection."""
    words = environ.get("SSH_CONNECTION", "").split()
    if len(words) != 4:
        return ("", "", "", "")
    return (words[0], words[1], words[2], words[3])
