"""A Swarm of three engines on this machine, each on a host of its own as far as the network goes.

The hosts are network namespaces with a name each; a bridge in a fourth one is what they are
plugged into, and this machine too, which sees their published ports as a client on the same
network does.
"""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import docker

from jobctl import hosts
from jobctl.errors import EngineUnreachable
from tests.engine_host import EngineHost
from tests.waiting import eventually

HEARTBEAT_S = 3
"""How often nodes report: one that misses three is taken for lost."""
LOST_S = 60
_NETWORKS = range(16, 250)


class Lacking(Exception):
    """This kernel can't have such hosts; the message says what it lacks."""


class Switch:
    """What the hosts are plugged into."""

    def __init__(self) -> None:
        token = secrets.token_hex(2)
        self.prefix = f"jsw{token}"
        self.network = next(
            f"10.213.{n}"
            for n in sorted(_NETWORKS, key=lambda _: secrets.randbits(16))
            if not any(str(one).startswith(f"10.213.{n}.") for one in hosts.networks())
        )
        self._name = f"{self.prefix}-sw"
        _ip("netns", "add", self._name, lacking="network namespaces")
        _ip("-n", self._name, "link", "set", "lo", "up")
        _ip("-n", self._name, "link", "add", "br0", "type", "bridge", lacking="bridges")
        _ip("-n", self._name, "link", "set", "br0", "up")
        vxlan = ["type", "vxlan", "id", "1", "dstport", "0", "remote", "192.0.2.1"]
        _ip("-n", self._name, "link", "add", "try0", *vxlan, lacking="VXLAN")
        _ip("link", "add", f"{self.prefix}o", "type", "veth", "peer", "out", "netns", self._name)
        _ip("addr", "add", f"{self.network}.254/24", "dev", f"{self.prefix}o")
        _ip("link", "set", f"{self.prefix}o", "up")
        _ip("-n", self._name, "link", "set", "out", "master", "br0", "up")

    def plug(self, namespace: str, number: int) -> None:
        """Make a host's network, with one cable."""
        end = f"p{number}"
        _ip("netns", "add", namespace)
        _ip("-n", namespace, "link", "set", "lo", "up")
        cable = ["type", "veth", "peer", end, "netns", self._name]
        _ip("link", "add", "eth0", "netns", namespace, *cable)
        _ip("-n", namespace, "addr", "add", f"{self.network}.{number}/24", "dev", "eth0")
        _ip("-n", namespace, "link", "set", "eth0", "up")
        _ip("-n", self._name, "link", "set", end, "master", "br0", "up")

    def unplug(self, namespace: str, number: int) -> None:
        """Let nothing be left of a host's network."""
        # The kernel takes its time to end a namespace, and what is in it until then.
        _ip("-n", self._name, "link", "del", f"p{number}")
        _ip("netns", "del", namespace)

    def close(self) -> None:
        _ip("link", "del", f"{self.prefix}o")
        _ip("netns", "del", self._name)


class SwarmNode(EngineHost):
    """One host: its network, its name and its engine."""

    def __init__(self, directory: Path, switch: Switch, number: int) -> None:
        super().__init__(directory)
        self.number, self._switch = number, switch
        self.name, self.namespace = f"node-{number}", f"{switch.prefix}-{number}"
        self.address = f"{switch.network}.{number}"
        # Where services of a system are, whose processes are not counted with those of a session.
        pids = Path("/sys/fs/cgroup/pids")
        group = (pids if pids.is_dir() else pids.parent) / self.namespace / "engine"
        group.mkdir(parents=True)
        # Not `ip netns exec`, which hides the cgroups.
        self.enter = [
            *("nsenter", f"--net=/run/netns/{self.namespace}", "unshare", "--uts"),
            *("sh", "-c", f'hostname {self.name}; echo $$ > {group}/cgroup.procs; exec "$0" "$@"'),
        ]
        # For a registry on the same network, without TLS.
        insecure = ["--insecure-registry", f"{switch.network}.0/24"]
        self.options = ["--cgroup-parent", f"/{self.namespace}", *insecure]
        switch.plug(self.namespace, number)

    def docker(self, *words: str, check: bool = True) -> str:
        """Run the ``docker`` command on this engine and return what it printed."""
        done = subprocess.run(
            ["docker", "--host", self.endpoint, *words],
            check=False,
            capture_output=True,
            text=True,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"docker {' '.join(words)} on {self.name}: {done.stderr}")
        return done.stdout.strip()

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command on the host itself, beside the engine."""
        enter = ["nsenter", f"--net=/run/netns/{self.namespace}"]
        return subprocess.run([*enter, *words], check=False, capture_output=True, text=True)

    def fresh_network(self) -> None:
        self._switch.unplug(self.namespace, self.number)
        self._switch.plug(self.namespace, self.number)

    def close(self) -> None:
        with suppress(FileNotFoundError):
            super().close()
        self._switch.unplug(self.namespace, self.number)
        for group in Path("/sys/fs/cgroup").glob(f"*/{self.namespace}"):
            for below in [*sorted(group.rglob("*/"), reverse=True), group]:
                with suppress(OSError):
                    below.rmdir()


class Cluster:
    """Three engines, of which the first manages the Swarm that they are."""

    def __init__(self, nodes: Sequence[SwarmNode], outside: str) -> None:
        self.nodes = nodes
        self.outside = outside
        """The address of this machine on their network."""
        self.manager = nodes[0]
        self.api: Any = docker.APIClient(base_url=self.manager.endpoint, version="auto")

    @property
    def workers(self) -> Sequence[SwarmNode]:
        return self.nodes[1:]

    def node(self, name: str) -> SwarmNode:
        return next(node for node in self.nodes if node.name == name)

    def states(self) -> dict[str, str]:
        """Return by name what the Swarm takes each node for: ``ready`` or ``down``."""
        answers = self.api.nodes()
        return {one["Description"]["Hostname"]: one["Status"]["State"] for one in answers}

    def await_state(self, node: SwarmNode, state: str) -> None:
        """Wait until the Swarm has noticed what became of a node."""
        assert eventually(lambda: self.states().get(node.name) == state, timeout=LOST_S)

    def left(self) -> list[str]:
        """Return the names of what jobs have made in the Swarm and is still there."""
        made = [*self.api.services(), *self.api.secrets(), *self.api.configs()]
        networks = self.api.networks(filters={"label": "jobctl.job_id"})
        return [*(one["Spec"]["Name"] for one in made), *(one["Name"] for one in networks)]

    def form(self) -> None:
        """Make a Swarm of the engines, which notices soon when a node is lost."""
        port, manager = 2377, self.manager
        at = ["--advertise-addr", manager.address, "--listen-addr", f"{manager.address}:{port}"]
        beat = ["--dispatcher-heartbeat", f"{HEARTBEAT_S}s"]
        manager.docker("swarm", "init", *at, *beat)
        token = manager.docker("swarm", "join-token", "--quiet", "worker")
        for one in self.workers:
            join = ["--token", token, "--advertise-addr", one.address]
            one.docker("swarm", "join", *join, f"{manager.address}:{port}")


@contextmanager
def cluster(
    directory: Path, *, everywhere: Sequence[str], some: Sequence[str]
) -> Iterator[Cluster]:
    """Yield a Swarm of three; the images of ``some`` are on all nodes but the last.

    Raises:
        Lacking: the kernel can't have it.
        Unavailable: the engines don't start.
        AssertionError: they don't become a Swarm.
    """
    if os.getuid() != 0:
        raise Lacking("network namespaces to other users than root")
    archive = directory / "images.tar"
    with ExitStack() as undo:
        switch = Switch()
        undo.callback(switch.close)
        nodes = []
        for number in (1, 2, 3):
            place = directory / f"node-{number}"
            place.mkdir()
            nodes.append(node := SwarmNode(place, switch, number))
            undo.callback(node.close)
        with ThreadPoolExecutor(len(nodes)) as pool:
            list(pool.map(SwarmNode.start, nodes))
            made = Cluster(nodes, f"{switch.network}.254")
            undo.callback(made.api.close)
            made.form()
            for images, where in ((everywhere, nodes), (some, nodes[:-1])):
                if not images:
                    continue
                subprocess.run(["docker", "save", "--output", archive, *images], check=True)
                list(pool.map(lambda node: node.load_from(archive), where))
            archive.unlink(missing_ok=True)
        yield made


def _ip(*words: str, lacking: str = "") -> None:
    done = subprocess.run(["ip", *words], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        kind = Lacking if lacking else EngineUnreachable
        raise kind(lacking or f"ip {' '.join(words)}: {done.stderr}")
