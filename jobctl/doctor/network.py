"""The network: whether jobs are kept apart, and from where they are reached."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from jobctl import hosts, startup
from jobctl.containers import BYPASS, NETWORK
from jobctl.doctor.finding import Answer, NotSeen, ok, problem, unknown, warning
from jobctl.doctor.subject import Subject
from jobctl.engines.base import Network
from jobctl.errors import JobctlError
from jobctl.job import Job

# Without it, the kernel does not ask the firewall about traffic within a bridge (bridge(8)).
_BRIDGE_UNFILTERED = "bridge-nf-call-iptables is disabled"


def apart(subject: Subject) -> Answer:
    """Look whether the containers of different jobs can reach each other."""
    if subject.engine.traits.cluster:
        return ok("each job has a network of its own, encrypted, on which nothing else is")
    found = subject.engine.network(NETWORK)
    if found is None:
        return ok(f"the network {NETWORK} is made with the first job")
    if not found.isolated:
        return problem(
            f"the network {NETWORK} lets its containers reach each other",
            f"remove the jobs that are on it, and: docker network rm {NETWORK} (the next job "
            "makes it anew)",
            fixable=not _in_use(subject, found),
        )
    if any(_BRIDGE_UNFILTERED in text for text in subject.facts.warnings):
        return problem(
            f"the network {NETWORK} is isolated by the firewall, which the kernel does not ask",
            "sysctl net.bridge.bridge-nf-call-iptables=1, and ip6tables likewise",
        )
    return ok(f"the network {NETWORK} lets them reach nothing of each other")


def make_anew(subject: Subject) -> list[str]:
    """Make the network anew, isolated, if no container is on it, ended ones included."""
    found = subject.engine.network(NETWORK)
    if found is None or found.isolated or _in_use(subject, found):
        return []
    subject.engine.remove_network(found.id)
    subject.engine.ensure_network(NETWORK)
    return [f"the network {NETWORK}, which no container was on, is made anew, isolated"]


def addresses(subject: Subject) -> Answer:
    """Look whether jobs can be reached past their gateways, at their containers' addresses."""
    if subject.engine.traits.cluster:
        return ok("no node has a way to them")
    found, here = subject.engine.network(NETWORK), subject.engine.local_socket is not None
    if subject.facts.rootless or not (found and (_routed(found.subnets) or not here)):
        seen = "this host has no way to the addresses of containers"
        return ok(seen if found else "there are no containers yet")
    if not here and subject.facts.transport != "ssh":
        return unknown(f"what {subject.facts.host} gets to can't be seen from here")
    host = "this host" if here else subject.facts.host
    words = ", ".join(found.subnets)
    ledger = subject.ledger
    found_open = [
        (job, ports) for job in _here(subject) if (ports := startup.open_ports(ledger, job))
    ]
    if unasked := [(job, ports) for job, ports in found_open if BYPASS not in job.relaxed]:
        return problem(
            "\n".join(f"{job.job_id}: {startup.way_past(job, ports)}" for job, ports in unasked)
        )
    if found_open:
        ids = ", ".join(job.job_id for job, _ in found_open)
        return warning(
            f"whoever is on {host} gets to {ids} past the gateway, as allow_bypass permits",
            "have the app listen on 127.0.0.1 alone",
        )
    return ok(f"{host} reaches {words}, where no job of yours listens beside its own port")


def exposed(subject: Subject) -> Answer:
    """Look for the caller's jobs that answer beyond this host."""
    found = [job for job in subject.live_jobs if not _is_loopback(job.bind_address)]
    if not found:
        return ok("none")
    words = ", ".join(f"{job.job_id} ({job.bind_address})" for job in found)
    return warning(
        f"{words}: reached from the network, {_firewall(subject)}",
        "where that is not wanted: jobctl rm JOB, and jobctl run without --bind",
    )


def default_bind(subject: Subject) -> Answer:
    """Look at where jobs answer if nothing else is said."""
    config = subject.broker.config
    address = config.general.bind_address
    if _is_loopback(address):
        return ok(f"{address}: on {_host(subject)} only")
    origin = config.general_origins.get("bind_address")
    return warning(
        f"{address} in {origin}: each job is reached from the network, {_firewall(subject)}",
        "general.bind_address: 127.0.0.1, and --bind for those that are to be reached",
    )


def _host(subject: Subject) -> str:
    try:
        return "this host" if subject.engine.local_socket else subject.facts.host
    except (NotSeen, JobctlError):
        return "its host"


def _in_use(subject: Subject, network: Network) -> bool:
    # Asked anew: between a look and the repair somebody may have launched something.
    containers = subject.engine.containers()
    return any({network.id, NETWORK} & container.networks for container in containers)


def _routed(subnets: Sequence[str]) -> bool:
    own = hosts.networks()
    return any(ipaddress.ip_network(subnet) in own for subnet in subnets)


def _here(subject: Subject) -> list[Job]:
    """Return the caller's jobs that this engine runs."""
    ledger = subject.ledger
    return [job for job in subject.live_jobs if job.container_ids and not ledger.elsewhere(job)]


def _firewall(subject: Subject) -> str:
    try:
        if subject.facts.rootless:
            return "as far as this host's firewall lets that through"
    except (NotSeen, JobctlError):
        pass  # said of a rootful one, which is the worse case
    return "past host firewalls such as ufw and firewalld"


def _is_loopback(address: str) -> bool:
    return address == "localhost" or ipaddress.ip_address(address).is_loopback
