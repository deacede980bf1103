"""Ways around the job's port: where else its containers listen, and who gets there."""

from __future__ import annotations

import ipaddress
import socket
import struct
from pathlib import Path

from jobctl.conformance.trial import Failed, Trial, Unknown

TIMEOUT_S = 2
_LISTENING = "0A"  # TCP_LISTEN of the kernel's net/tcp_states.h


def ports(trial: Trial) -> str:
    """Make sure that nothing listens beside the job's port where others than the job get to.

    Whoever is on the engine's host can connect to the address that the job's containers share.
    """
    job, containers = trial.job, [*trial.containers()]
    published = [one for container in containers for one in container.details.publishes]
    foreign = [one for one in published if one.host_port != int(job.port)]
    if foreign or len(published) != 1:
        words = ", ".join(f"{one.address}:{one.host_port}" for one in published) or "nothing"
        raise Failed(f"its containers publish {words} instead of its own port")
    own = {one.container_port for one in published}
    seen = _listening(trial)
    wanted = (seen or set()) | {trial.app_port or int(job.port)}
    taken = reached([at for one in containers for at in one.details.addresses], wanted - own)
    if exposed := (seen or set()) - own | (taken or set()):
        raise Failed(
            f"whoever is on this host gets to port {_words(exposed)} of its containers without "
            "TLS and password: they listen on all addresses; have the app listen on 127.0.0.1 "
            "alone, as most do with an option such as --host, --bind or --address"
        )
    if seen is None and taken is None:
        raise Unknown("not checked: from here, the containers can't be reached or looked into")
    return f"{job.bind_address}:{job.port}"


def reached(addresses: list[str], wanted: set[int]) -> set[int] | None:
    """Return which ports take connections at some address; ``None``: that can't be told from here.

    It can't where there is no way to the addresses, as to those of another host's containers.
    """
    found, asked = set(), False
    for address in addresses:
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


def _listening(trial: Trial) -> set[int] | None:
    """Return the ports on which the containers listen beyond loopback; ``None``: can't be told.

    The kernel tells it of the network namespace of any process that one may look at.
    """
    for process in trial.broker.engine.processes(trial.job.container_ids[-1]):
        proc = Path(f"/proc/{process.pid}")
        try:
            # A process of the same number on this host, where the engine is on another.
            if (proc / "ns/net").readlink() == Path("/proc/self/ns/net").readlink():
                return None
            tables = [proc / "net/tcp", proc / "net/tcp6"]
            return {
                port
                for table in tables
                if table.exists()
                for port in beyond_loopback(table.read_text())
            }
        except OSError:
            continue
    return None


def beyond_loopback(table: str) -> set[int]:
    """Return ports on which somebody listens for more than loopback, from ``/proc/net/tcp``.

    Addresses are 32-bit words in the host's order of bytes (proc(5)).
    """
    rows = [line.split() for line in table.splitlines()[1:]]
    found = set()
    for place in (row[1] for row in rows if row[3] == _LISTENING):
        words, _, port = place.partition(":")
        parts = [int(words[n : n + 8], 16) for n in range(0, len(words), 8)]
        address = ipaddress.ip_address(struct.pack(f"={len(parts)}I", *parts))
        if not (getattr(address, "ipv4_mapped", None) or address).is_loopback:
            found.add(int(port, 16))
    return found


def _words(found: set[int]) -> str:
    return ", ".join(map(str, sorted(found)))
