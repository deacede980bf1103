"""Packets for a container on an overlay network, from a machine that is not in its cluster.

An overlay's frames travel in UDP packets to a well-known port (VXLAN, RFC 7348), with nothing that
says who sent them: on a network that is not encrypted, a node hands on what anybody sends.
"""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import time

from tests.swarm_cluster import Cluster, SwarmNode

VXLAN_PORT = 4789
PACKETS = 50
SETTLED_S = 0.3
_VALID_VNI = 0x08000000
_ECHO_REQUEST = 8
_ICMP = 1
_SENDER = bytes.fromhex("02420a00014d")


def delivered(cluster: Cluster, node: SwarmNode, container: str) -> int:
    """Return how many packets get to a container of those that this machine forges for it."""
    found = json.loads(node.docker("inspect", container))[0]
    ((name, endpoint),) = found["NetworkSettings"]["Networks"].items()
    network = json.loads(cluster.manager.docker("network", "inspect", name))[0]
    vni = int(network["Options"]["com.docker.network.driver.overlay.vxlanid_list"])
    head = struct.pack("!II", _VALID_VNI, vni << 8)
    packet = head + _frame(endpoint["MacAddress"], endpoint["IPAddress"])
    before = _received(found["State"]["Pid"])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(PACKETS):
            sender.sendto(packet, (node.address, VXLAN_PORT))
    time.sleep(SETTLED_S)
    return _received(found["State"]["Pid"]) - before


def _received(pid: int) -> int:
    """Return how many packets have come to the network of a process, but for loopback."""
    enter = ["nsenter", "--target", str(pid), "--net", "cat", "/proc/net/dev"]
    table = subprocess.run(enter, check=True, capture_output=True, text=True).stdout
    rows = [line.split() for line in table.splitlines()[2:]]
    return sum(int(row[2]) for row in rows if row[0] != "lo:")


def _frame(mac: str, address: str) -> bytes:
    echo = struct.pack("!BBHHH", _ECHO_REQUEST, 0, 0, 1, 1) + b"x" * 16
    echo = echo[:2] + _checksum(echo) + echo[4:]
    source = socket.inet_aton(f"{address.rpartition('.')[0]}.77")
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(echo), 1, 0, 64, _ICMP, 0)
    ip += source + socket.inet_aton(address)
    ip = ip[:10] + _checksum(ip) + ip[12:]
    return bytes.fromhex(mac.replace(":", "")) + _SENDER + b"\x08\x00" + ip + echo


def _checksum(data: bytes) -> bytes:
    """Return the Internet checksum (RFC 1071) of an even number of bytes."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF)
