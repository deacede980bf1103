"""What jobctl asks of a container engine: a small protocol and the plain values it exchanges.

Adapters translate between these values and one engine's API. They decide nothing: which
containers a job needs is for ``jobctl.containers``, in which order for ``jobctl.launch``. The
values are structs, of which all commands import many: a dataclass takes 40 times as long to make.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, Literal, NamedTuple, Protocol

import msgspec

FILES_LABEL = "jobctl.files"
"""Says with a container which files of its caller's host it has copies of, as a JSON list."""


class Bind(msgspec.Struct, frozen=True, kw_only=True):
    """A host path that appears at ``target`` inside the container."""

    source: str
    target: str
    read_only: bool = True


class Publish(msgspec.Struct, frozen=True, kw_only=True):
    """A port of the container that answers on the host."""

    address: str
    host_port: int
    container_port: int


class Healthcheck(msgspec.Struct, frozen=True, kw_only=True):
    """A command that the engine runs inside the container; times are in seconds."""

    command: Sequence[str]
    interval: float = 30
    timeout: float = 5
    retries: int = 2


class ContainerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A container to create, locked down unless a field says otherwise.

    ``user`` is ``uid:gid``; ``tmpfs`` maps a path to mount options; ``memory`` and ``shm_size``
    are in bytes and ``cpus`` in cores; ``cpu_shares`` is its weight beside other containers while
    all want more than there is; ``gpus`` is a number or ``all``; ``restarts`` is how often the
    engine restarts it after a failure. With ``joins``, the container shares the network
    namespace of the container with that id; on a cluster it is beside it, on a network that only
    the two are on. With ``entrypoint``, the image's own program runs and ``command`` are its
    arguments; without those, the image's own. ``files`` and ``secrets`` are files of the caller's
    host that it sees read-only at the same paths, wherever the engine is.

    Only a cluster heeds the rest: ``constraints`` say which of its hosts come in question, in its
    own words, ``reserve_memory`` (bytes) and ``reserve_cpus`` (cores) what such a host must have
    left, and with ``moves`` the container goes to another host when its own is lost.
    """

    name: str
    image: str
    command: Sequence[str]
    user: str
    labels: Mapping[str, str]
    memory: int
    cpus: float
    pids: int
    cpu_shares: int = 1024
    env: Mapping[str, str] = {}
    binds: Sequence[Bind] = ()
    files: Sequence[str] = ()
    secrets: Sequence[str] = ()
    tmpfs: Mapping[str, str] = {}
    publish: Publish | None = None
    network: str | None = None
    joins: str | None = None
    working_dir: str | None = None
    entrypoint: bool = False
    shm_size: int | None = None
    gpus: int | Literal["all"] | None = None
    read_only: bool = True
    cap_add: Sequence[str] = ()
    healthcheck: Healthcheck | None = None
    restarts: int = 5
    stop_grace: int = 10
    constraints: Sequence[str] = ()
    reserve_memory: int | None = None
    reserve_cpus: float | None = None
    moves: bool = False


class Container(msgspec.Struct, frozen=True, kw_only=True):
    """A container as the engine lists it.

    ``state`` is the engine's word (``created``, ``running``, ``paused``, ``restarting``,
    ``exited``, ``dead``), or ``starting`` while a cluster has yet to bring it to where it runs;
    ``reason`` is why it can't, if it says. ``health`` is ``healthy``, ``unhealthy``, ``starting``
    or ``None``, ``exit_code`` is that of one that has ended, where the list tells. ``ports`` are
    the host ports it publishes. ``endpoint`` is the engine's id of its
    place on a network, another one each time that it starts; ``None`` where it has none of its own.
    ``networks`` are those it is or was on, by name and where the engine says so by id.

    In a cluster, ``host`` and ``address`` are the name and the address of the one of its hosts
    that the container is on, and it is ``apart`` if the one that it joins is on another.
    """

    id: str
    name: str
    image: str
    labels: Mapping[str, str]
    state: str
    health: str | None = None
    ports: frozenset[int] = frozenset()
    endpoint: str | None = None
    networks: frozenset[str] = frozenset()
    reason: str | None = None
    exit_code: int | None = None
    host: str | None = None
    address: str | None = None
    apart: bool = False


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """How one container is doing; ``pid`` is its main process on the host while it runs.

    ``started_at`` is when it was started last, in seconds since the epoch, and before that
    negative; ``finished_at`` is when it ended last, and negative if it never did. ``stop_grace`` is
    how long it may take to stop, in seconds. ``reason`` is why a cluster does not run it, in its
    words; with ``claim_lost``, it is that somebody else has its port.
    """

    state: str
    pid: int | None
    exit_code: int
    restarts: int
    started_at: float
    finished_at: float = -1
    out_of_memory: bool = False
    stop_grace: int = 10
    reason: str | None = None
    claim_lost: bool = False


class Details(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine has on record about a container, for who wants to make sure of it.

    ``command`` is all that it was told to run, ``user`` what it was told to run as. ``addresses``
    are its own IP addresses; there are none while it doesn't run, or if it joined another
    container. ``memory`` is in bytes; 0 there, in ``cpus`` and in ``pids`` is no limit.
    ``seccomp`` is a profile other than the engine's, ``unconfined`` for none; ``apparmor`` and
    ``selinux`` are the profile and the label that it runs under.
    """

    command: Sequence[str]
    env: Mapping[str, str]
    labels: Mapping[str, str]
    user: str
    read_only: bool
    cap_add: Sequence[str]
    cap_drop: Sequence[str]
    privileged: bool
    no_new_privileges: bool
    binds: Sequence[Bind]
    publishes: Sequence[Publish]
    addresses: Sequence[str]
    memory: int
    cpus: float
    pids: int
    seccomp: str | None = None
    apparmor: str | None = None
    selinux: str | None = None


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """A process in a container, as the engine's host knows it; ``command`` is its argv, joined."""

    pid: int
    uid: int
    command: str


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """An image on the engine; ``size`` is in bytes."""

    id: str
    tag: str
    labels: Mapping[str, str]
    size: int


class Transfer(NamedTuple):
    """How much of an image has come, in bytes; ``total`` of what is known to be on its way."""

    done: int
    total: int


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What a container has used since it started, and the memory that it has now.

    ``at`` is when that was so, in seconds since the epoch, ``cpu_seconds`` its time on all cores.
    Of ``memory``, in bytes, the part is left out that the kernel could take back at once.
    ``received`` and ``sent`` are bytes on its networks, of the one it joined where it did.
    """

    at: float
    cpu_seconds: float
    memory: int
    received: int
    sent: int


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine says of itself and of its host, and how requests get there.

    ``endpoint`` is where it answers, ``chosen_by`` what named that; ``transport`` is ``socket``,
    ``ssh``, ``tls``, ``unverified tls`` (anybody can pretend to be the engine) or ``plain``.
    ``host`` is its machine's name, ``data_root`` where it keeps its containers there. With
    ``rootless`` it runs as an ordinary user, with ``remapped`` as root, but root in containers is
    another user. ``seccomp`` is the profile that containers get, ``mandatory`` what else confines
    them. ``unlimited`` is what it can't limit: ``memory``, ``swap``, ``cpus``, ``pids``, and
    ``cgroups`` the version of what it limits with, ``None`` where it has none. ``warnings`` are its
    own. ``time`` was its clock's as it answered, in seconds since the epoch, if it tells.
    ``differences`` say in words what is otherwise for jobs than on Docker's engine.
    """

    endpoint: str
    chosen_by: str
    transport: Literal["socket", "ssh", "tls", "unverified tls", "plain"]
    version: str
    host: str
    data_root: str
    rootless: bool
    remapped: bool
    seccomp: str | None
    mandatory: Sequence[str]
    unlimited: frozenset[str]
    live_restore: bool
    warnings: Sequence[str]
    cgroups: str | None = None
    time: float | None = None
    differences: Sequence[str] = ()


class Traits(msgspec.Struct, frozen=True, kw_only=True):
    """In what an engine differs from one of a single host whose containers share namespaces.

    ``listen`` is the address on which an app has to listen that is to be reached by its gateway
    alone. A ``cluster`` has several hosts, publishes ports on all addresses of the one that runs a
    job, and finds the app by its container's name. ``relaxed`` says in words where its containers
    are less locked down than they were asked to be, ``lacks`` what else it can't do.
    """

    listen: str = "127.0.0.1"
    cluster: bool = False
    relaxed: Sequence[str] = ()
    lacks: Sequence[str] = ()


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A host of a cluster; it is ``ready`` if it is not lost and takes containers."""

    id: str
    name: str
    address: str
    ready: bool
    cpus: float


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """A network on the engine; ``isolated`` if its containers can't reach each other."""

    id: str
    subnets: Sequence[str]
    isolated: bool


class Engine(Protocol):
    """A container engine. Every method raises ``EngineUnreachable`` when it can't be asked."""

    @property
    def name(self) -> str:
        """The kind, as in the job object: ``docker``."""

    @property
    def local_socket(self) -> str | None:
        """The path of the engine's socket, or ``None`` when it is on another machine."""

    @property
    def traits(self) -> Traits:
        """In what it differs from an engine of one host."""

    def nodes(self) -> list[Node]:
        """Return the hosts of a cluster; an engine of one host has none to tell apart."""

    def version(self) -> str:
        """Return the engine's version in words."""

    def facts(self) -> Facts:
        """Return what the engine says of itself, and how it is reached."""

    def containers(self, labels: Sequence[str] = ()) -> list[Container]:
        """List containers, ended ones too, that carry all ``labels`` (``key`` or ``key=value``)."""

    def create(self, spec: ContainerSpec) -> str:
        """Create a container and return its id.

        Raises:
            ClaimLost: the name is taken.
            ImageMissing: the engine does not have the image.
        """

    def refresh(self, container: str) -> None:
        """Bring the files that a container was created with up to date, where it has copies."""

    def sweep(self, labels: Sequence[str]) -> None:
        """Remove what containers that carried all ``labels`` and are gone have left."""

    def answers_at(self, address: str, port: int) -> tuple[str, int]:
        """Return the address and port at which this host reaches a port of the engine's host.

        ``address`` is the one that it is published on there.

        Raises:
            JobctlError: it answers nowhere that this host could get to.
        """

    def connects(self, address: str, port: int, *, timeout: float) -> bool | None:
        """Tell whether the engine's host gets to an address; ``None``: that can't be told."""

    def start(self, container: str) -> None:
        """Start a container; one that runs already is fine.

        One that a cluster has on another host than the one it joins is brought there.

        Raises:
            ClaimLost: the port that it publishes is bound by somebody else.
            JobctlError: no host of a cluster can take it; says why.
        """

    def stop(self, container: str, *, grace: int | None = None) -> None:
        """Stop a container within ``grace`` seconds (default: its own); stopped or gone is fine."""

    def remove(self, container: str) -> None:
        """Kill and remove a container; one that is gone is fine."""

    def condition(self, container: str) -> Condition | None:
        """Return how a container is doing, ``None`` if there is none."""

    def details(self, container: str) -> Details | None:
        """Return what a container was created with, ``None`` if there is none."""

    def processes(self, container: str) -> list[Process]:
        """Return the processes in a container; there are none while it doesn't run or is gone."""

    def usage(self, containers: Sequence[str]) -> dict[str, Usage]:
        """Return what each of some containers uses; those that don't run are left out."""

    def logs(
        self, container: str, *, tail: int | None = None, follow: bool = False
    ) -> Iterator[bytes]:
        """Yield what a container wrote to stdout and stderr, in chunks."""

    def ensure_network(self, name: str) -> str:
        """Return the id of the bridge ``name``, on which containers can't reach each other."""

    def network(self, name: str) -> Network | None:
        """Return that bridge as it is, ``None`` if there is none."""

    def remove_network(self, network: str) -> None:
        """Remove a network, by its id; one that is gone is fine.

        Raises:
            EngineRefused: a running container is on it.
        """

    def image(self, tag: str) -> Image | None:
        """Return an image, ``None`` if the engine does not have it."""

    def pull(self, tag: str, seen: Callable[[Transfer], None] | None = None) -> bool:
        """Fetch an image from its registry, tell ``seen`` how it goes, return whether it worked."""

    def tag(self, image: str, tag: str) -> None:
        """Give an image another name."""

    def build(
        self,
        context: IO[bytes],
        *,
        tag: str,
        labels: Mapping[str, str],
        args: Mapping[str, str],
    ) -> Iterator[str]:
        """Build an image from a tar stream and yield the builder's output, line by line."""

    def import_image(self, rootfs: IO[bytes], *, tag: str, labels: Mapping[str, str]) -> None:
        """Make an image of a tar stream of a root file system."""

    def close(self) -> None:
        """Let go of connections."""
