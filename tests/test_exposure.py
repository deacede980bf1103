"""Ports that take connections beside a job's own: read from the kernel's tables, and tried."""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
from pathlib import Path

import pytest

from jobctl import hosts
from jobctl.engines.base import ContainerSpec
from jobctl.engines.docker import DockerEngine
from jobctl.exposure import beyond_loopback, listening, listens, open_ports, reached
from tests.conftest import Traces
from tests.waiting import eventually


def test_ports_that_take_connections_are_found_by_trying() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        # Bound and not listening: nobody else can take it meanwhile.
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            wanted = {port, closed.getsockname()[1]}

            assert reached(["127.0.0.1"], wanted) == {port}
            assert reached(["127.0.0.1"], wanted - {port}) == set()


def test_what_can_not_be_tried_is_not_taken_for_closed() -> None:
    assert reached([], {80}) is None
    # An address of some link, and none is named.
    assert reached(["fe80::1"], {80}) is None


TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:2328 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 1 1
   1: 00000000:20FB 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 2 1
   2: 0200A8C0:22B8 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 3 1
   3: 00000000:1F90 0100007F:9C40 01 00000000:00000000 00:00000000 00000000  1000        0 4 1
"""
TABLE_6 = """\
  sl  local_address                         remote_address                        st tx_queue
   0: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 00000000
   1: 0000000000000000FFFF00000100007F:0051 00000000000000000000000000000000:0000 0A 00000000
   2: 00000000000000000000000000000000:0052 00000000000000000000000000000000:0000 0A 00000000
   3: 000080FE000000000000000001000000:0053 00000000000000000000000000000000:0000 0A 00000000
"""


@pytest.mark.skipif(sys.byteorder == "big", reason="the tables are of a little-endian host")
def test_who_listens_for_more_than_loopback_is_found_in_the_kernel_s_tables() -> None:
    """Connections are no listeners; ``::ffff:127.0.0.1`` is loopback too."""
    assert beyond_loopback(TABLE) == {0x20FB, 0x22B8}
    assert beyond_loopback(TABLE_6) == {0x52, 0x53}
    assert beyond_loopback("") == set()


def test_only_this_host_s_own_networks_are_asked() -> None:
    """Elsewhere, a request for a container that this host has no way to would go astray."""
    documentation = map(ipaddress.ip_address, ["192.0.2.1", "198.51.100.1", "203.0.113.1"])
    far = [str(a) for a in documentation if not any(a in network for network in hosts.networks())]
    assert reached(far[:1], {80}) is None
    assert any(network.is_loopback for network in hosts.networks())


def test_without_a_look_inside_what_is_suspected_is_tried() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]

        assert open_ports(["127.0.0.1"], pid=None, suspects=[port], own=[]) == {port}
        assert open_ports(["127.0.0.1"], pid=None, suspects=[port], own=[port]) is None


def test_a_process_that_shares_this_host_s_network_is_no_container_s() -> None:
    assert listening(os.getpid()) is None


def test_whether_a_container_listens_is_seen_from_outside(
    engine: DockerEngine, traces: Traces, tiny_image: str
) -> None:
    serve = "mkfifo /tmp/go; cat /tmp/go; exec nc -ll -p 9000 -e cat"
    spec = ContainerSpec(
        name=traces.new_name(),
        image=tiny_image,
        command=["sh", "-c", serve],
        user="65532:65532",
        labels={},
        memory=16 << 20,
        cpus=1,
        pids=16,
        tmpfs={"/tmp": "size=1m,mode=1777"},  # noqa: S108, inside the container
    )
    container = engine.create(spec)
    engine.start(container)
    condition = engine.condition(container)
    assert condition
    assert condition.pid
    pid = condition.pid
    go = Path(f"/proc/{pid}/root/tmp/go")
    assert eventually(go.is_fifo)

    assert listens(pid, 9000, container=container) is False
    go.write_text("")
    assert eventually(lambda: listens(pid, 9000, container=container))
    assert listens(pid, 9001, container=container) is False
    # The process of that number is another's, or there is none.
    assert listens(pid, 9000, container="0" * 64) is None
    engine.remove(container)
    assert listens(pid, 9000, container=container) is None
