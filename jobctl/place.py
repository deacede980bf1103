"""The host that an engine's jobs run on, as their clients know it: its names and addresses."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from jobctl import hosts
from jobctl.engines.base import Facts
from jobctl.errors import JobctlError

_NAME = re.compile(r"(?!-)[A-Za-z0-9.-]{1,253}(?<![.-])")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where jobs run: ``here``, or on another machine, with the names and addresses it has.

    ``host`` is what goes into a job's record, ``name`` what its URL has if it is exposed.
    ``way`` is how requests get to its engine, as ``Facts.transport`` has it.
    """

    host: str
    name: str
    here: bool = True
    names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    way: str = "socket"

    def check_verifiable(self, bind_address: str) -> None:
        """Make sure that a port which is published on an address there can be verified from here.

        Raises:
            JobctlError: it can't.
        """
        loopback = ipaddress.ip_address(bind_address).is_loopback
        if loopback and not self.here and self.way != "ssh":
            raise JobctlError(
                f"the engine is on {self.host}, whose {bind_address} can't be reached from here: "
                "the job could neither be verified nor used; expose it with --bind ADDRESS, or "
                "use the engine by ssh: DOCKER_HOST=ssh://USER@HOST, or a context with that"
            )


def of(facts: Facts, *, here: bool) -> Place:
    """Return where the jobs of an engine run; ``here`` is whether that is this host."""
    if here:
        return Place(host=hosts.name(), name=hosts.names()[-1])
    known = [name for name in _known_as(facts) if not _leads_to_oneself(name)]
    names = tuple(name for name in known if not _is_address(name) and _NAME.fullmatch(name))
    addresses = [name for name in known if _is_address(name)]
    for name in names[:1]:
        addresses += _addresses_of(name)
    reached = known[0] if known else facts.host
    return Place(
        host=reached,
        name=f"[{reached}]" if ":" in reached else reached,
        here=False,
        names=names,
        addresses=tuple(dict.fromkeys(addresses)),
        way=facts.transport,
    )


def _known_as(facts: Facts) -> Iterable[str]:
    """Return names and addresses of an engine's host, first the one that leads there."""
    if facts.transport == "ssh":
        from jobctl import ssh

        destination, _ = ssh.of_url(facts.endpoint)
        # An alias of ssh's configuration may be known to nobody else.
        names = [ssh.host_name(destination)]
    else:
        names = [urlsplit(facts.endpoint).hostname or ""]
    return dict.fromkeys(filter(None, [*names, facts.host]))


def _is_address(name: str) -> bool:
    try:
        return bool(ipaddress.ip_address(name))
    except ValueError:
        return False


def _leads_to_oneself(name: str) -> bool:
    """Tell whether a name means another host wherever it is looked up, as at an end of a tunnel."""
    return name == "localhost" or (_is_address(name) and ipaddress.ip_address(name).is_loopback)


def _addresses_of(name: str) -> list[str]:
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError:  # known behind a jump host alone, for one
        return []
    addresses = [str(one[4][0]).partition("%")[0] for one in found]
    return [one for one in addresses if not ipaddress.ip_address(one).is_loopback]
