"""The range of ports: who holds which, and what the kernel does with the same ones."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from pathlib import Path

import psutil

from jobctl.doctor.finding import Answer, NotSeen, ok, problem, unknown, warning
from jobctl.doctor.subject import Subject
from jobctl.errors import JobctlError
from jobctl.job import Job, port_of
from jobctl.ledger import published

_KERNEL = Path("/proc/sys/net/ipv4")
_SHOWN = 5
_MOST_COMMAND = 60
_FEW = 0.1


def holders(subject: Subject) -> Answer:
    """Look who holds ports of the range, and how many are left."""
    low, high = subject.broker.config.general.port_range
    here = _engine_is_here(subject)
    listening = listeners(subject.broker.config.general.bind_address) if here else {}
    known = {port_of(job.job_id): f"your {job.job_id}" for job in subject.jobs}
    held = {**listening, **_of_containers(subject), **known}
    inside = [f"{port}: {held[port]}" for port in sorted(held) if low <= port <= high]
    total = high - low + 1
    free = total - len(inside)
    more = f" and {len(inside) - _SHOWN} more" if len(inside) > _SHOWN else ""
    words = f" ({'; '.join(inside[:_SHOWN])}{more})" if inside else ""
    seen = f"{free} of {low}-{high} are free{words}"
    seen += "" if here else "; what other programs of its host have can't be seen from here"
    widen = "remove ended jobs with: jobctl prune, or widen general.port_range"
    if not free:
        return problem(seen, widen)
    if shut_out := _shut_out(subject, listening):
        return warning(
            "; ".join(f"{job.job_id} can't start: {who} has its port" for job, who in shut_out),
            "end that, or launch anew on another port: jobctl rm JOB, and jobctl run",
        )
    return warning(seen, widen) if free < total * _FEW else ok(seen)


def kernel(subject: Subject) -> Answer:
    """Look for ports of the range that the kernel gives to others as well."""
    low, high = subject.broker.config.general.port_range
    if not _engine_is_here(subject):
        return unknown("that of the engine's host can't be asked from here")
    first, last = map(int, (_KERNEL / "ip_local_port_range").read_text().split())
    reserved = (_KERNEL / "ip_local_reserved_ports").read_text()
    # Not the privileged ones, below 1024: the configuration takes none of them.
    shared = shared_ports((low, high), (first, last), reserved)
    if not shared:
        return ok(f"outgoing connections of this host have {first}-{last}")
    return warning(
        f"{len(shared)} ports of {low}-{high} are given to outgoing connections as well, which "
        f"have {first}-{last} and can be faster than a job",
        "keep general.port_range out of that, or reserve it: sysctl "
        f"net.ipv4.ip_local_reserved_ports={shared[0]}-{shared[-1]}",
    )


def shared_ports(wanted: tuple[int, int], connections: tuple[int, int], reserved: str) -> list[int]:
    """Return the ports that may go to connections; ``reserved`` is the kernel's list, ``1,4-7``."""
    found = set(range(wanted[0], wanted[1] + 1)) & set(range(connections[0], connections[1] + 1))
    for part in filter(None, reserved.strip().split(",")):
        first, _, last = part.partition("-")
        found.difference_update(range(int(first), int(last or first) + 1))
    return sorted(found)


def listeners(address: str) -> dict[int, str]:
    """Return, by port, which process keeps others from listening at an address, in words.

    Linux tells the process behind a socket only to its owner and to root.
    """
    found = {}
    for connection in psutil.net_connections("tcp"):
        if connection.status != psutil.CONN_LISTEN or not connection.laddr:
            continue
        if _collide(address, connection.laddr.ip):
            found[connection.laddr.port] = _process(connection.pid)
    return found


def _process(pid: int | None) -> str:
    if pid is None:
        return "a process of another user"
    try:
        process = psutil.Process(pid)
        command = " ".join(process.cmdline()) or process.name()
    except psutil.Error:
        return f"pid {pid}"
    cut = command if len(command) <= _MOST_COMMAND else f"{command[: _MOST_COMMAND - 1]}…"
    return f"{cut} (pid {pid})"


def _collide(one: str, other: str) -> bool:
    addresses = [ipaddress.ip_address(text.partition("%")[0]) for text in (one, other)]
    return addresses[0] == addresses[1] or any(address.is_unspecified for address in addresses)


def _engine_is_here(subject: Subject) -> bool:
    try:
        return subject.engine.local_socket is not None
    except (NotSeen, JobctlError):
        return True


def _of_containers(subject: Subject) -> Mapping[int, str]:
    try:
        return published(subject.containers)
    except (NotSeen, JobctlError):
        return {}


def _shut_out(subject: Subject, listening: Mapping[int, str]) -> list[tuple[Job, str]]:
    """Return the caller's jobs that don't run while somebody else listens on their port."""
    try:
        running = {port for one in subject.containers for port in one.ports}
    except (NotSeen, JobctlError):
        return []
    return [
        (job, listening[port])
        for job in subject.jobs
        if job.ended and (port := port_of(job.job_id)) in listening and port not in running
    ]
