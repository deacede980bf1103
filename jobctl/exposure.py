"""Ways around a job's port: where else its containers listen, and whether this host gets there.

Whoever is on the engine's host can connect to the address that a job's containers share, and ask
the app itself, past the gateway, if it listens there.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Protocol

from jobctl import hosts

TIMEOUT_S = 1
THERE_TIMEOUT_S = 5
_LISTENING = "0A"  # TCP_LISTEN of the kernel's net/tcp_states.h


def open_ports(
    addresses: Collection[str], *, pid: int | None, suspects: Iterable[int], own: Collection[int]
) -> set[int] | None:
    """Return at which ports, other than its ``own``, a job can be reached from this host.

    ``pid`` is one of its processes on this host, whose network is looked into; where that can't
    be, only the ``suspects`` are tried. ``None``: nothing can be told from here, as of containers
    to which this host has no way.
    """
    seen = None if pid is None else listening(pid)
    wanted = seen if seen is not None else set(suspects)
    if seen is not None and not seen.difference(own):
        return set()
    return reached(addresses, wanted.difference(own))


class _Connects(Protocol):
    def __call__(self, address: str, port: int, *, timeout: float) -> bool | None: ...


def open_there(
    addresses: Iterable[str], suspects: Collection[int], connects: _Connects
) -> set[int] | None:
    """Return at which of the ``suspects`` a job can be reached from its engine's host.

    ``connects`` tells whether that host gets to an address. ``None``: nothing can be told.
    """
    found = {
        port: connects(address, port, timeout=THERE_TIMEOUT_S)
        for address in addresses
        for port in suspects
    }
    if not found or None in found.values():
        return None
    return {port for port, connected in found.items() if connected}


def listening(pid: int) -> set[int] | None:
    """Return on which ports the namespace of a process listens beyond loopback.

    ``None``: that can't be told, for want of permission or because it is no container's process.
    """
    proc = Path(f"/proc/{pid}")
    try:
        # A process of the same number on this host, where the engine is on another.
        if (proc / "ns/net").readlink() == Path("/proc/self/ns/net").readlink():
            return None
        return {port for table in _tables(proc) for port in beyond_loopback(table)}
    except OSError:
        return None


def listens(pid: int, port: int, *, container: str) -> bool | None:
    """Tell whether somebody listens on a port in the network of a container's process.

    ``None``: that can't be told, as where the process is not to be found in a cgroup with the id
    of the container: the engine is on another host, in a virtual machine, or has no cgroups.
    """
    proc = Path(f"/proc/{pid}")
    try:
        if container not in (proc / "cgroup").read_text():
            return None
        return any(port == found for table in _tables(proc) for _, found in _listening(table))
    except OSError:
        return None


def _tables(proc: Path) -> Iterator[str]:
    for table in (proc / "net/tcp", proc / "net/tcp6"):
        if table.exists():
            yield table.read_text()


def reached(addresses: Iterable[str], wanted: Collection[int]) -> set[int] | None:
    """Return which ports take connections at some address; ``None``: that can't be told from here.

    Only addresses on this host's own networks are tried: what is asked for others leaves the host.
    """
    found, asked = set(), False
    for address in filter(_on_link, addresses):
        for port in wanted:
            try:
                socket.create_connection((address, port), timeout=TIMEOUT_S).close()
                found.add(port)
                asked = True
            except ConnectionRefusedError:
                asked = True
            except OSError:
                break
    return found if asked else None


def _on_link(address: str) -> bool:
    return any(ipaddress.ip_address(address) in network for network in hosts.networks())


def beyond_loopback(table: str) -> set[int]:
    """Return ports on which somebody listens for more than loopback, from ``/proc/net/tcp``.

    Addresses are 32-bit words in the host's order of bytes (proc(5)).
    """
    found = set()
    for words, port in _listening(table):
        parts = [int(words[n : n + 8], 16) for n in range(0, len(words), 8)]
        address = ipaddress.ip_address(struct.pack(f"={len(parts)}I", *parts))
        if not (getattr(address, "ipv4_mapped", None) or address).is_loopback:
            found.add(port)
    return found


def _listening(table: str) -> Iterator[tuple[str, int]]:
    """Yield the address, as it is written there, and the port of each socket that listens."""
    for row in map(str.split, table.splitlines()[1:]):
        if row[3] == _LISTENING:
            address, _, port = row[1].partition(":")
            yield address, int(port, 16)
