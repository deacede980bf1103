"""This host: its names and addresses, and who holds a port."""

from __future__ import annotations

import errno
import ipaddress
import socket
from functools import cache
from pathlib import Path

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def name() -> str:
    """Return the host's name."""
    return socket.gethostname()


@cache
def names() -> tuple[str, ...]:
    """Return the host's name and, where it differs, its fully qualified one."""
    return tuple(dict.fromkeys([name(), socket.getfqdn()]))


def urls(
    protocol: str,
    bind_address: str,
    port: int,
    domain: str | None,
    *,
    exposed_as: str | None = None,
) -> tuple[str, str]:
    """Return where programs find a job, and what to open in a browser.

    ``exposed_as`` is the name of its host, for a job that is not on loopback; without, this one's.

    Browsers keep cookies and storage by host name, whatever the port: what they open has a name
    that no other job has, if there is one. Names below ``localhost`` lead browsers to loopback
    (RFC 6761, 6.3), but not every program; those below ``domain`` lead to this host.
    """
    address = ipaddress.ip_address(bind_address)
    if str(address) in ("127.0.0.1", "::1"):
        name, own = "localhost", f"job-{port}.localhost"
    elif address.is_loopback:
        name = own = str(address)
    else:
        name = exposed_as or names()[-1]
        own = f"job-{port}.{domain}" if domain else name
    return f"{protocol}://{name}:{port}/", f"{protocol}://{own}:{port}/"


def addresses() -> list[Address]:
    """Return the addresses of the host's interfaces, without link-local ones."""
    import psutil

    found = []
    for interface in psutil.net_if_addrs().values():
        for entry in interface:
            if entry.family in (socket.AF_INET, socket.AF_INET6):
                address = ipaddress.ip_address(entry.address.partition("%")[0])
                if not address.is_link_local:
                    found.append(address)
    return found


def networks() -> list[Network]:
    """Return the networks that this host is on itself: those of its interfaces' addresses."""
    import psutil

    found = []
    for interface in psutil.net_if_addrs().values():
        for entry in interface:
            if entry.family in (socket.AF_INET, socket.AF_INET6) and entry.netmask:
                address = ipaddress.ip_address(entry.address.partition("%")[0])
                length = int(ipaddress.ip_address(entry.netmask)).bit_count()
                if not address.is_link_local:
                    found.append(ipaddress.ip_network((address, length), strict=False))
    return found


def is_bound(address: str, port: int) -> bool:
    """Tell whether a port looks taken: a hint to save a try, the engine has the last word."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def holder(port: int) -> str | None:
    """Say which process listens on a port, ``None`` where that can't be known.

    Linux tells the process behind a socket only to its owner and to root.
    """
    import psutil

    for connection in psutil.net_connections("tcp"):
        if connection.status != psutil.CONN_LISTEN or not connection.laddr:
            continue
        if connection.laddr.port == port:
            if connection.pid is None:
                return "a process of another user"
            try:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
            except psutil.NoSuchProcess:
                return None
    return None


def first_child(pid: int) -> int | None:
    """Return the process that ``pid`` started first, ``None`` if there is none (any more)."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return None
    return int(children[0]) if children else None
