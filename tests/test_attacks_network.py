"""Attempts to reach an app past its port, from other containers and from the host."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from jobctl.containers import NETWORK
from tests.attack_site import FAREWELL, Victim
from tests.conftest import Traces, bridge_address

pytestmark = pytest.mark.engine

# Tries all places at once, and one of its own, to be seen to find what there is.
KNOCK = """
import asyncio, json, socket, sys

async def open_at(address, port):
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(address, port), 2)
    except OSError:
        return False
    writer.close()
    return True

async def main(places):
    own = await asyncio.start_server(lambda reader, writer: writer.close(), "0.0.0.0", 0)
    address = socket.gethostbyname(socket.gethostname())
    places.append([address, own.sockets[0].getsockname()[1]])
    found = await asyncio.gather(*(open_at(*place) for place in places))
    assert found.pop(), "what listens is not found"
    print(json.dumps([place for place, there in zip(places, found) if there]))

asyncio.run(main(json.load(sys.stdin)))
"""


@pytest.fixture(scope="module")
def other_network(traces: Traces) -> Iterator[str]:
    """A bridge of somebody else's."""
    name = traces.new_network_name()
    subprocess.run(["docker", "network", "create", name], check=True, capture_output=True)
    yield name
    traces.remove_networks()


def addresses(victim: Victim) -> list[str]:
    found = victim.engine.details(victim.job["container_ids"][0])
    assert found is not None
    assert found.addresses
    return list(found.addresses)


def listeners(victim: Victim) -> set[int]:
    """Return the ports that take connections inside the job, be it only from there."""
    tables = [Path(f"/proc/{victim.job['pid']}/net/{name}") for name in ("tcp", "tcp6")]
    rows = [line.split() for table in tables for line in table.read_text().splitlines()[1:]]
    found = {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == "0A"}
    assert victim.job["app_port"] in found
    return found


def reached_from(network: str, places: Iterable[tuple[str, int]]) -> list[list[str | int]]:
    """Return which places take connections from a container of some other user's."""
    command = ["docker", "run", "--rm", "--interactive", "--network", network, "--user", "12345"]
    done = subprocess.run(
        [*command, "jobctl/base", "python3", "-c", KNOCK],
        input=json.dumps(list(places)),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    found: list[list[str | int]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("neighbour", ["bridge", NETWORK, "another"])
def test_from_another_container(victim: Victim, other_network: str, neighbour: str) -> None:
    """The job's own port neither: it is bound to the host's loopback."""
    network = other_network if neighbour == "another" else neighbour
    inside = [(address, port) for address in addresses(victim) for port in listeners(victim)]
    hosts = map(bridge_address, ["bridge", NETWORK, other_network])
    outside = [(address, victim.port) for address in hosts]
    assert reached_from(network, [*inside, *outside]) == []


def test_from_the_host(victim: Victim) -> None:
    """Whoever is on it gets to containers' addresses: there is TLS alone, and the password."""
    own = 8443 if victim.kind.scheme != "form" else victim.port
    assert own in listeners(victim)
    for address in addresses(victim):
        found = set()
        for port in range(1, 1 << 16):
            with socket.socket() as client:
                client.settimeout(1)
                try:
                    client.connect((address, port))
                    found.add(port)
                except ConnectionRefusedError:
                    continue
                except TimeoutError:
                    return  # a host that has no way to containers, as of an engine without root
        assert found == {own}
        with socket.create_connection((address, own), timeout=10) as plain:
            connection = victim.tls().wrap_socket(plain, server_hostname="localhost")
            with connection:
                connection.sendall(victim.wire(FAREWELL))
                assert victim.let_in(connection.recv(1 << 16)) == 0
