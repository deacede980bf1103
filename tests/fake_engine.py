"""A container engine in memory, for tests of what is built on ``Engine``.

It keeps the promises of the protocol, which ``test_engine_contract`` holds it to beside the real
one, and has a few methods of its own that play the outside world.
"""

from __future__ import annotations

import ipaddress
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import count
from threading import RLock
from typing import IO, Any

from msgspec.structs import replace

from jobctl.engines.base import (
    Bind,
    Condition,
    Container,
    ContainerSpec,
    Details,
    Facts,
    Image,
    Network,
    Node,
    Process,
    Traits,
    Transfer,
    Usage,
)
from jobctl.errors import (
    ClaimLost,
    EngineRefused,
    EngineUnreachable,
    ImageMissing,
    JobctlError,
)

TERMINATED = 128 + 15
KILLED = 128 + 9


FACTS = Facts(
    endpoint="memory://",
    chosen_by="the test",
    transport="socket",
    version="in memory",
    host="test-pc",
    data_root="/in/memory",
    rootless=False,
    remapped=False,
    seccomp="default",
    mandatory=[],
    unlimited=frozenset(),
    live_restore=False,
    warnings=[],
    cgroups="2",
)


UNUSED = Usage(at=0, cpu_seconds=0.01, memory=4096, received=0, sent=0)


@dataclass(frozen=True)
class Program:
    """What a command does when a container runs it; without an ``exit_code`` it goes on."""

    output: bytes = b""
    exit_code: int | None = None
    ignores_term: bool = False


@dataclass
class _Running:
    """One container and what became of it."""

    id: str
    spec: ContainerSpec
    state: str = "created"
    pid: int | None = None
    exit_code: int = 0
    restarts: int = 0
    started_at: float = -1
    finished_at: float = -1
    usage: Usage = UNUSED
    endpoint: str | None = None
    out_of_memory: bool = False
    health: str | None = None
    log: list[bytes] = field(default_factory=list)


class FakeEngine:
    """An engine without containers, where every command runs until it is stopped.

    ``programs`` says what other commands do, ``images`` which images there are.
    """

    name = "docker"
    traits = Traits()

    def __init__(
        self,
        *,
        images: Sequence[str] = (),
        programs: Mapping[tuple[str, ...], Program] | None = None,
        local_socket: str | None = None,
        host: str = "test-pc",
    ) -> None:
        self._local_socket = local_socket
        self._programs = dict(programs or {})
        self._containers: dict[str, _Running] = {}
        self._networks: dict[str, str] = {}
        self._images: dict[str, Image] = {}
        self._strangers: list[tuple[str, int]] = []
        self._numbers = count(1)
        self._lock = RLock()
        self._reachable = True
        self._facts = replace(FACTS, host=host)
        self._open_networks: set[str] = set()
        for tag in images:
            self.add_image(tag)

    # The protocol

    @property
    def local_socket(self) -> str | None:
        return self._local_socket

    def nodes(self) -> list[Node]:
        return []

    def version(self) -> str:
        with self._asked():
            return "in memory"

    def facts(self) -> Facts:
        with self._asked():
            return self._facts

    def containers(self, labels: Sequence[str] = ()) -> list[Container]:
        with self._asked():
            return [
                Container(
                    id=found.id,
                    name=found.spec.name,
                    image=found.spec.image,
                    labels=dict(found.spec.labels),
                    state=found.state,
                    exit_code=found.exit_code if found.state == "exited" else None,
                    health=found.health if found.state in ("running", "paused") else None,
                    ports=frozenset([found.spec.publish.host_port])
                    if found.spec.publish and found.state in ("running", "paused")
                    else frozenset(),
                    endpoint=found.endpoint,
                    networks=self._on(found.spec.network),
                )
                for found in reversed(self._containers.values())
                if all(_carries(found.spec.labels, label) for label in labels)
            ]

    def create(self, spec: ContainerSpec) -> str:
        with self._asked():
            if self._tagged(spec.image) is None:
                raise ImageMissing(spec.image)
            if any(other.spec.name == spec.name for other in self._containers.values()):
                raise ClaimLost(f'the container name "{spec.name}" is taken')
            created = _Running(id=self._new_id(), spec=spec)
            self._containers[created.id] = created
            return created.id

    def refresh(self, container: str) -> None:
        del container  # it sees the files themselves

    def sweep(self, labels: Sequence[str]) -> None:
        del labels  # nothing is left of what is gone

    def answers_at(self, address: str, port: int) -> tuple[str, int]:
        return address, port

    def connects(self, address: str, port: int, *, timeout: float) -> bool | None:
        del address, port, timeout
        return None

    def start(self, container: str) -> None:
        with self._asked():
            found = self._found(container)
            if found.state in ("running", "paused"):
                return
            if found.spec.joins and self._found(found.spec.joins).state != "running":
                raise JobctlError("the engine refused: the container to join does not run")
            if found.spec.network and found.spec.network not in self._networks.values():
                raise JobctlError(f"the engine refused: no network {found.spec.network}")
            if found.spec.publish:
                address, port = found.spec.publish.address, found.spec.publish.host_port
                if any(_collide((address, port), bound) for bound in self._bound(found)):
                    raise ClaimLost(f"the port is taken: {address}:{port}")
            found.restarts = 0
            self._run(found)

    def stop(self, container: str, *, grace: int | None = None) -> None:  # noqa: ARG002
        with self._asked():
            found = self._containers.get(container)
            if found and found.state in ("running", "paused"):
                ignores = self._program(found.spec.command).ignores_term
                self._end(found, KILLED if ignores else TERMINATED)

    def remove(self, container: str) -> None:
        with self._asked():
            self._containers.pop(container, None)

    def condition(self, container: str) -> Condition | None:
        with self._asked():
            found = self._containers.get(container)
            if found is None:
                return None
            return Condition(
                state=found.state,
                pid=found.pid,
                exit_code=found.exit_code,
                restarts=found.restarts,
                started_at=found.started_at,
                finished_at=found.finished_at,
                out_of_memory=found.out_of_memory,
            )

    def details(self, container: str) -> Details | None:
        with self._asked():
            found = self._containers.get(container)
            if found is None:
                return None
            spec = found.spec
            return Details(
                command=spec.command,
                env=spec.env,
                labels=spec.labels,
                user=spec.user,
                read_only=spec.read_only,
                cap_add=spec.cap_add,
                cap_drop=["ALL"],
                privileged=False,
                no_new_privileges=True,
                binds=[
                    *spec.binds,
                    *(Bind(source=path, target=path) for path in [*spec.files, *spec.secrets]),
                ],
                publishes=[spec.publish] if spec.publish else [],
                addresses=["192.0.2.1"] if spec.network and found.pid else [],
                memory=spec.memory,
                cpus=spec.cpus,
                pids=spec.pids,
            )

    def processes(self, container: str) -> list[Process]:
        with self._asked():
            found = self._containers.get(container)
            if found is None or found.pid is None:
                return []
            uid, command = int(found.spec.user.partition(":")[0]), " ".join(found.spec.command)
            return [Process(pid=found.pid, uid=uid, command=command)]

    def usage(self, containers: Sequence[str]) -> dict[str, Usage]:
        with self._asked():
            return {
                one: replace(found.usage, at=next(self._numbers))
                for one in containers
                if (found := self._containers.get(one)) and found.pid is not None
            }

    def logs(
        self,
        container: str,
        *,
        tail: int | None = None,
        follow: bool = False,  # noqa: ARG002, here a program has said all at once
    ) -> Iterator[bytes]:
        with self._asked():
            lines = b"".join(self._found(container).log).splitlines(keepends=True)
        return iter(lines if tail is None else lines[len(lines) - min(tail, len(lines)) :])

    def ensure_network(self, name: str) -> str:
        with self._asked():
            return self._networks.setdefault(name, self._new_id())

    def network(self, name: str) -> Network | None:
        with self._asked():
            found = self._networks.get(name)
            if found is None:
                return None
            isolated = name not in self._open_networks
            return Network(id=found, subnets=["192.0.2.0/24"], isolated=isolated)

    def remove_network(self, network: str) -> None:
        with self._asked():
            for name in [name for name, found in self._networks.items() if found == network]:
                if any(name in self._on(one.spec.network) for one in self._containers.values()):
                    raise EngineRefused(f"the engine refused: {name} has active endpoints")
                del self._networks[name]
                self._open_networks.discard(name)

    def image(self, tag: str) -> Image | None:
        with self._asked():
            return self._tagged(tag)

    def pull(
        self,
        tag: str,  # noqa: ARG002, there is no registry
        seen: Callable[[Transfer], None] | None = None,  # noqa: ARG002
    ) -> bool:
        with self._asked():
            return False

    def tag(self, image: str, tag: str) -> None:
        with self._asked():
            found = self._tagged(image)
            if found is None:
                raise JobctlError(f"the engine refused: no image {image}")
            self._images[_full(tag)] = found

    def build(
        self,
        context: IO[bytes],
        *,
        tag: str,
        labels: Mapping[str, str],
        args: Mapping[str, str],
    ) -> Iterator[str]:
        with self._asked(), tarfile.open(fileobj=context) as archive:
            dockerfile = archive.extractfile("Dockerfile")
            lines = dockerfile.read().decode().splitlines() if dockerfile else []
        return self._built(lines, tag, labels, args)

    def import_image(self, rootfs: IO[bytes], *, tag: str, labels: Mapping[str, str]) -> None:
        with self._asked():
            try:
                tarfile.open(fileobj=rootfs).close()
            except tarfile.TarError as error:
                raise JobctlError(f"the engine could not import {tag}: {error}") from None
            self.add_image(tag, labels)

    def close(self) -> None:
        pass

    # The outside world

    def add_image(self, tag: str, labels: Mapping[str, str] | None = None) -> None:
        """Have an image, as if it had been built."""
        self._images[_full(tag)] = Image(
            id=f"sha256:{self._new_id()}", tag=tag, labels=dict(labels or {}), size=1_000_000
        )

    def crash(self, container: str, exit_code: int, *, out_of_memory: bool = False) -> None:
        """Let the app end, and fail again each time that the engine has started it anew."""
        found = self._found(container)
        found.out_of_memory = out_of_memory
        found.restarts = found.spec.restarts if exit_code else found.restarts
        self._end(found, exit_code)

    def crash_once(self, container: str) -> None:
        """Let the app fail once, so that the engine starts it anew."""
        found = self._found(container)
        found.restarts += 1
        self._begin(found)

    def vanish(self, container: str) -> None:
        """Remove a container behind jobctl's back."""
        self._containers.pop(container, None)

    def pause(self, container: str) -> None:
        """Pause a container behind jobctl's back."""
        self._found(container).state = "paused"

    def set_health(self, container: str, health: str) -> None:
        """Let a container's health check come to another result."""
        self._found(container).health = health

    def work(self, container: str, *, cpu_seconds: float = 0, sent: int = 0) -> None:
        """Let a container use more of something."""
        found = self._found(container)
        found.usage = replace(
            found.usage,
            cpu_seconds=found.usage.cpu_seconds + cpu_seconds,
            sent=found.usage.sent + sent,
        )

    def bind(self, address: str, port: int) -> None:
        """Let a process of the host, which is no container, listen on a port."""
        self._strangers.append((address, port))

    def release(self, address: str, port: int) -> None:
        """Let that process end."""
        self._strangers.remove((address, port))

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        """Let every request fail for a while."""
        self._reachable = False
        try:
            yield
        finally:
            self._reachable = True

    def say(self, **facts: Any) -> None:
        """Say something else of itself from now on."""
        self._facts = replace(self._facts, **facts)

    def open_network(self, name: str) -> None:
        """Have a network on which containers reach each other."""
        self.ensure_network(name)
        self._open_networks.add(name)

    def networks_named(self, name: str) -> list[str]:
        """Return the ids of the networks of that name."""
        return [found for known, found in self._networks.items() if known == name]

    # Inside

    @contextmanager
    def _asked(self) -> Iterator[None]:
        with self._lock:
            if not self._reachable:
                raise EngineUnreachable("the engine did not answer: it is switched off")
            yield

    def _found(self, container: str) -> _Running:
        if container not in self._containers:
            raise JobctlError(f"the engine refused: no container {container}")
        return self._containers[container]

    def _program(self, command: Sequence[str]) -> Program:
        return self._programs.get(tuple(command), Program())

    def _run(self, found: _Running) -> None:
        self._begin(found)
        check = found.spec.healthcheck
        if check:
            failed = self._program(check.command).exit_code
            found.health = "unhealthy" if failed else "healthy"
        program = self._program(found.spec.command)
        found.log.append(program.output)
        if program.exit_code is None:
            return
        if program.exit_code:
            found.log += [program.output] * found.spec.restarts
            found.restarts = found.spec.restarts
        self._end(found, program.exit_code)

    def _begin(self, found: _Running) -> None:
        found.state, found.pid, found.exit_code = "running", self._new_pid(), 0
        found.started_at = next(self._numbers)
        found.usage = UNUSED
        found.endpoint = self._new_id() if found.spec.network else None

    def _end(self, found: _Running, exit_code: int) -> None:
        found.state, found.pid, found.exit_code = "exited", None, exit_code
        found.finished_at = next(self._numbers)
        found.endpoint = None

    def _bound(self, but: _Running) -> Iterator[tuple[str, int]]:
        yield from self._strangers
        for other in self._containers.values():
            publish = other.spec.publish
            if other is not but and publish and other.state in ("running", "paused"):
                yield publish.address, publish.host_port

    def _tagged(self, tag: str) -> Image | None:
        by_id = {image.id: image for image in self._images.values()}
        return self._images.get(_full(tag)) or by_id.get(tag)

    def _built(
        self, lines: Sequence[str], tag: str, labels: Mapping[str, str], args: Mapping[str, str]
    ) -> Iterator[str]:
        carried = dict(labels)
        for number, line in enumerate(lines, 1):
            yield f"Step {number}/{len(lines)} : {line}"
            word, _, rest = line.partition(" ")
            if word == "FROM" and self._tagged(rest) is None:
                raise JobctlError(f"the build failed: there is no {rest}")
            if word == "LABEL":
                key, _, value = rest.partition("=")
                carried[key] = re.sub(r"\$(\w+)", lambda found: args.get(found[1], ""), value)
        self.add_image(tag, carried)
        yield f"Successfully tagged {_full(tag)}"

    def _on(self, network: str | None) -> frozenset[str]:
        """Return a network as the list of containers has it."""
        names = {name for name, found in self._networks.items() if network in (name, found)}
        return frozenset({network, *names} if network else ())

    def _new_id(self) -> str:
        # No engine has another's.
        return sha256(f"{self._facts.host} {next(self._numbers)}".encode()).hexdigest()

    def _new_pid(self) -> int:
        return 4_000_000 + next(self._numbers)


def _carries(labels: Mapping[str, str], wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    return key in labels and (not equals or labels[key] == value)


def _full(tag: str) -> str:
    return tag if ":" in tag.rpartition("/")[2] else f"{tag}:latest"


def _collide(one: tuple[str, int], other: tuple[str, int]) -> bool:
    if one[1] != other[1]:
        return False
    addresses = ipaddress.ip_address(one[0]), ipaddress.ip_address(other[0])
    return addresses[0] == addresses[1] or any(address.is_unspecified for address in addresses)
