"""Fixtures that several test modules share: a directory of a user, an engine, an image for it."""

from __future__ import annotations

import fcntl
import os
import resource
import secrets
import shutil
import signal
import string
import struct
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING

import docker
import pytest

from jobctl.engines.docker import DockerEngine
from jobctl.engines.endpoints import connect
from jobctl.errors import EngineUnreachable
from jobctl.locks import Locks
from jobctl.registry import Registry
from tests.attack_site import victim
from tests.bench import bench
from tests.browser import browse
from tests.far_host import far_host
from tests.podman import Podman
from tests.podman import rootful_podman as root_s
from tests.podman import rootless_podman as user_s
from tests.rootless import Unavailable
from tests.site import installed, installed_for_all, shared_site, site, users_site
from tests.ssh_site import distant_job, ssh_host

__all__ = [
    "bench",
    "browse",
    "distant_job",
    "far_host",
    "installed",
    "installed_for_all",
    "shared_site",
    "site",
    "ssh_host",
    "users_site",
    "victim",
]

if TYPE_CHECKING:
    from tests.bad_input import CommandLine
    from tests.gateway_site import Running

KERNEL_LACKS = "the engine or the kernel of this host offers no"

# Locks that leave nothing behind: of files that are there anyway.
LAUNCHING, NEXT_TURN = Path(__file__), Path(__file__).with_name("site.py")
PREFIX = "jobctl-test-"
"""What the name of everything that tests make on an engine starts with."""
_PT_INTERP = 3


def run_inside(container: str, command: Sequence[str]) -> int:
    """Run a command in a running container of the real engine and return its exit code."""
    return subprocess.run(["docker", "exec", container, *command], check=False).returncode


def bridge_address(network: str) -> str:
    """Return where a network's containers see the engine's host, which no other host gets to."""
    template = "{{(index .IPAM.Config 0).Subnet}}"
    command = ["docker", "network", "inspect", network, "--format", template]
    subnet = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    # The bridge has the first of its addresses; not every engine says so.
    return str(next(ip_network(subnet).hosts()))


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Let writing fail beyond so many bytes of a file, as it does on a disk that is full.

    As narrow a block as can be: whatever pytest writes meanwhile is limited too.
    """
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses the real engine, so that ``-m "not engine"`` leaves it out."""
    # CPython's ssl leaves a socket that was reset before its handshake to the garbage collector.
    reset = pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket (?!.*raddr):ResourceWarning")
    for item in items:
        item.add_marker(reset)
        if "engine" in getattr(item, "fixturenames", ()):
            item.add_marker("engine")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Let no test launch anything while another process of this run has a browser open.

    A page fails to load when the host's network interfaces change (ERR_NETWORK_CHANGED).
    """
    browsing, launching = (item.get_closest_marker(name) for name in ("browser", "engine"))
    if not (browsing or launching):
        return (yield)
    with LAUNCHING.open() as lock:
        # Who waits for the lock keeps the turn, so that nobody waits forever.
        with NEXT_TURN.open() as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            fcntl.flock(lock, fcntl.LOCK_EX if browsing else fcntl.LOCK_SH)
        return (yield)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where all tests have to run, let one that was left out count as failed.

    But for those of what the kernel does not have, which say so.
    """
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not os.environ.get("CI") or reporter is None:
        return
    left_out = [str(report.longrepr) for report in reporter.stats.get("skipped", ())]
    if any(KERNEL_LACKS not in reason for reason in left_out):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a user's directory, private and empty."""
    directory = tmp_path / "state" / "user"
    directory.mkdir(mode=0o700, parents=True)
    return directory


@pytest.fixture
def registry(home: Path) -> Registry:
    """Return the records in ``home``, of which there are none yet."""
    return Registry(home, Locks(home))


@pytest.fixture
def command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """Return the command line in this process, with its own state and the app ``demo``."""
    from tests.bad_input import CommandLine

    return CommandLine(tmp_path, monkeypatch)


def unavailable(reason: str) -> None:
    """Leave a test out for want of something, but not where all tests have to run."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@dataclass
class Traces:
    """What tests made on the engine, so that it can be removed, and be seen to be gone."""

    api: docker.APIClient
    prefix: str
    """What the names of this test session start with; others may use the same engine."""
    networks: list[str] = field(default_factory=list)

    def new_name(self) -> str:
        """Return a name for a container that nothing else has."""
        return f"{self.prefix}-{secrets.token_hex(4)}"

    def new_network_name(self) -> str:
        """Return a name for a network; the kernel allows 15 characters."""
        name = f"{self.prefix}{string.ascii_letters[len(self.networks)]}"
        self.networks.append(name)
        return name

    def containers(self) -> dict[str, str]:
        """Return the names of what is there now, by id."""
        return {
            entry["Id"]: entry["Names"][0].lstrip("/")
            for entry in self.api.containers(all=True, filters={"name": f"^/?{self.prefix}"})
        }

    def network_ids(self, name: str) -> list[str]:
        """Return the ids of the networks of that name."""
        return [entry["Id"] for entry in self.api.networks(names=[name]) if entry["Name"] == name]

    def remove_containers(self) -> None:
        """Remove the containers of this session, by id."""
        for container in self.containers():
            self.api.remove_container(container, force=True, v=True)

    def remove_networks(self) -> None:
        """Remove the networks of this session, by id."""
        for found in [found for name in self.networks for found in self.network_ids(name)]:
            self.api.remove_network(found)

    def left(self) -> list[str]:
        """Return the names of what is there now, networks and images included."""
        networks = [name for name in self.networks if self.network_ids(name)]
        images = [
            tag
            for image in self.api.images()
            for tag in image["RepoTags"] or ()
            if self.prefix in tag
        ]
        return [*self.containers().values(), *networks, *images]


# Of the fixture ``gateways``, which each module that uses these has for its own app.


@pytest.fixture(params=["digest", "basic"])
def protected(request: pytest.FixtureRequest, gateways: dict[str, Running]) -> Running:
    return gateways[request.param]


@pytest.fixture
def basic(gateways: dict[str, Running]) -> Running:
    return gateways["basic"]


@pytest.fixture(scope="session")
def engine() -> Iterator[DockerEngine]:
    """Connect to the engine that the ``docker`` command would use."""
    try:
        found = connect()
    except EngineUnreachable as error:
        unavailable(str(error))
        raise
    assert isinstance(found, DockerEngine)
    yield found
    found.close()


@pytest.fixture(scope="session")
def rootful_podman() -> Iterator[Podman]:
    """Run a Podman of root's."""
    with _podman(root_s()) as podman:
        yield podman


@pytest.fixture(scope="session")
def rootless_podman() -> Iterator[Podman]:
    """Run a Podman of an ordinary user."""
    with _podman(user_s(f"{PREFIX}{secrets.token_hex(2)}")) as podman:
        yield podman


@contextmanager
def _podman(runs: AbstractContextManager[Podman]) -> Iterator[Podman]:
    try:
        with runs as podman:
            yield podman
    except Unavailable as reason:
        unavailable(str(reason))


@pytest.fixture(scope="session")
def traces(engine: DockerEngine) -> Iterator[Traces]:
    """Know what this session makes on the engine; nothing of it may be left at the end."""
    api = docker.APIClient(base_url=engine.endpoint, version="auto")
    made = Traces(api, PREFIX + secrets.token_hex(1))
    yield made
    left = made.left()
    made.remove_containers()
    api.close()
    assert left == []


@pytest.fixture(scope="session")
def tiny_image(
    engine: DockerEngine, traces: Traces, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Make an image of one static busybox, without any registry, and return its tag."""
    programs = tmp_path_factory.mktemp("rootfs") / "bin"
    programs.mkdir()
    shutil.copy(_static_busybox(tmp_path_factory), programs / "busybox")
    for name in ("cat", "echo", "false", "kill", "nc", "sh", "sleep", "test", "touch", "true"):
        (programs / name).symlink_to("busybox")
    tag = f"jobctl-test/tiny:{traces.prefix}"
    pack = ["tar", "--create", "--directory", str(programs.parent), "bin"]
    with subprocess.Popen(pack, stdout=subprocess.PIPE) as rootfs:
        assert rootfs.stdout is not None
        engine.import_image(rootfs.stdout, tag=tag, labels={"jobctl.test": "tiny"})
    image = engine.image(tag)
    assert image is not None
    yield tag
    traces.api.remove_image(image.id, force=True)


def _static_busybox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the host's busybox if it needs no libraries, else that of the Debian package."""
    installed = shutil.which("busybox")
    if installed and not _needs_libraries(Path(installed).read_bytes()):
        return Path(installed)
    scratch = tmp_path_factory.mktemp("busybox")
    try:
        fetch = ["apt-get", "download", "busybox-static"]
        subprocess.run(fetch, cwd=scratch, check=True, capture_output=True)
        (package,) = scratch.glob("*.deb")
        subprocess.run(["dpkg", "-x", package, scratch], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError, ValueError) as error:
        unavailable(f"no static busybox for a test image: {error}; install busybox-static")
    return scratch / "bin/busybox"


def _needs_libraries(program: bytes) -> bool:
    """Tell whether a 64-bit ELF file asks for a dynamic loader (elf(5), ``PT_INTERP``)."""
    (start,) = struct.unpack_from("<Q", program, 32)
    size, count = struct.unpack_from("<HH", program, 54)
    kinds = (struct.unpack_from("<I", program, start + size * n)[0] for n in range(count))
    return _PT_INTERP in kinds
