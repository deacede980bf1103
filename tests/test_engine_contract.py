"""What jobctl may rely on from an engine: one suite, for the real one and the one in memory."""

from __future__ import annotations

import gc
import io
import ipaddress
import json
import socket
import socketserver
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import docker
import pytest

from jobctl.engines.base import (
    Bind,
    Condition,
    Container,
    ContainerSpec,
    Details,
    Engine,
    Healthcheck,
    Process,
)
from jobctl.engines.base import Publish as PublishedPort
from jobctl.engines.docker import DockerEngine
from jobctl.engines.endpoints import connect
from jobctl.errors import ClaimLost, EngineRefused, EngineUnreachable, ImageMissing, JobctlError
from tests.conftest import PREFIX, Traces
from tests.fake_engine import KILLED, TERMINATED, FakeEngine, Program
from tests.far_host import FarHost
from tests.waiting import eventually

FOREVER = ("sleep", "1000")
STUBBORN = ("sh", "-c", "trap '' TERM; while true; do sleep 1; done")
TALKS = ("sh", "-c", "echo to stdout; echo to stderr >&2")
SERVES = ("sh", "-c", "while true; do echo reached | nc -l -p 9000; done")
FAILS = ("sh", "-c", "exit 3")
PROGRAMS = {
    STUBBORN: Program(ignores_term=True),
    TALKS: Program(output=b"to stdout\nto stderr\n", exit_code=0),
    FAILS: Program(exit_code=3),
    ("true",): Program(exit_code=0),
    ("false",): Program(exit_code=1),
    ("sh", "-c", "exit 4"): Program(exit_code=4),
}
NO_ID = "0" * 64


class Host(Protocol):
    """An engine, and what a test needs beside it."""

    kind: str
    engine: Engine
    image: str

    def name(self) -> str: ...

    def network_name(self) -> str: ...

    def networks_named(self, name: str) -> list[str]: ...

    def another_connection(self) -> AbstractContextManager[Engine]: ...

    def process_on(self, port: int) -> AbstractContextManager[None]: ...

    def fail_once(self, container: str) -> None: ...

    def uid(self, inside: int) -> int: ...

    def pause(self, container: str) -> None: ...

    def vanish(self, container: str) -> None: ...


class FakeHost:
    """The engine in memory."""

    kind = "docker"

    def __init__(self) -> None:
        self.fake = FakeEngine(images=["jobctl-test/tiny"], programs=PROGRAMS)
        self.engine: Engine = self.fake
        self.image = "jobctl-test/tiny"
        self.networks_named = self.fake.networks_named
        self.fail_once = self.fake.crash_once
        self.pause = self.fake.pause
        self.vanish = self.fake.vanish
        self._names = iter(range(1000))

    def uid(self, inside: int) -> int:
        return inside

    def name(self) -> str:
        return f"jobctl-test-{next(self._names)}"

    def network_name(self) -> str:
        return self.name()

    @contextmanager
    def another_connection(self) -> Iterator[Engine]:
        yield self.fake

    @contextmanager
    def process_on(self, port: int) -> Iterator[None]:
        self.fake.bind("127.0.0.1", port)
        yield
        self.fake.release("127.0.0.1", port)


class RealHost:
    """The real engine."""

    kind = "docker"

    def __init__(self, engine: Engine, image: str, traces: Traces) -> None:
        self.engine: Engine = engine
        self.image = image
        self.traces = traces
        self.name = traces.new_name
        self.network_name = traces.new_network_name
        self.networks_named = traces.network_ids

    @contextmanager
    def another_connection(self) -> Iterator[Engine]:
        engine = connect()
        yield engine
        engine.close()

    @contextmanager
    def process_on(self, port: int) -> Iterator[None]:
        with socket.create_server(("127.0.0.1", port)):
            yield

    def fail_once(self, container: str) -> None:
        # The init is spared by kill(2), which leaves out process 1, and reports the app's end.
        api = self.traces.api
        api.exec_start(api.exec_create(container, ["kill", "-KILL", "-1"])["Id"])

    def uid(self, inside: int) -> int:
        """Return who a user inside a container is on the engine's host."""
        return inside

    def run_inside(self, container: str, command: Sequence[str]) -> int:
        api = self.traces.api
        run = api.exec_create(container, command)["Id"]
        api.exec_start(run)
        code: int = api.exec_inspect(run)["ExitCode"]
        return code

    def pause(self, container: str) -> None:
        self.traces.api.pause(container)

    def vanish(self, container: str) -> None:
        self.traces.api.remove_container(container, force=True)


class RemoteHost(RealHost):
    """The real engine of another machine, by ssh."""

    def __init__(self, there: FarHost, engine: DockerEngine, image: str, traces: Traces) -> None:
        super().__init__(engine, image, traces)
        self.there = there

    @contextmanager
    def another_connection(self) -> Iterator[Engine]:
        engine = self.there.connect()
        yield engine
        engine.close()

    @contextmanager
    def process_on(self, port: int) -> Iterator[None]:
        with self.there.process_on(port):
            yield

    def fail_once(self, container: str) -> None:
        command = ["docker", "--host", self.there.endpoint, "exec", container]
        subprocess.run([*command, "kill", "-KILL", "-1"], check=False)


@pytest.fixture(scope="module")
def remote_host(far_host: FarHost, tiny_image: str) -> Iterator[RemoteHost]:
    """Return an engine of another machine, which has the test image too."""
    far_host.load(tiny_image)
    engine = far_host.connect()
    api = docker.APIClient(base_url=far_host.endpoint, version="auto")
    traces = Traces(api, PREFIX + "f")
    yield RemoteHost(far_host, engine, tiny_image, traces)
    assert traces.containers() == {}
    assert far_host.volumes() == []
    api.close()
    engine.close()


# Those of which the way there could be the ruin, or the other machine.
BY_SSH = {
    "test_the_engine_says_what_it_is",
    "test_the_engine_says_how_it_is_run_and_reached",
    "test_a_created_container_does_not_run_yet",
    "test_a_started_container_runs_as_a_process_of_the_host",
    "test_stopping_ends_the_app_with_a_signal",
    "test_removing_kills_and_leaves_nothing",
    "test_removing_what_is_gone_is_fine",
    "test_starting_what_is_gone_is_an_error",
    "test_a_container_that_somebody_removed_has_no_condition",
    "test_a_name_can_be_had_once",
    "test_a_port_that_another_container_publishes_is_refused_at_start",
    "test_a_port_that_a_process_of_the_host_has_is_refused_at_start",
    "test_a_container_of_an_image_that_is_not_there",
    "test_an_imported_image_has_its_labels",
    "test_a_built_image_has_the_labels_and_arguments_it_was_built_with",
    "test_containers_are_listed_with_what_was_asked_for",
    "test_a_running_container_is_listed_with_its_port",
    "test_a_network_that_is_there_is_used_again",
    "test_a_container_joins_the_network_of_one_that_runs",
    "test_many_are_asked_for_what_they_use",
    "test_a_running_container_has_processes_of_its_user",
    "test_the_log_has_both_streams",
    "test_following_a_log_ends_with_the_container",
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give each test the engine in memory, the real one, and that of another machine."""
    if "host" in metafunc.fixturenames:
        real = ["docker", "ssh"] if metafunc.function.__name__ in BY_SSH else ["docker"]
        params = ["memory", *(pytest.param(name, marks=pytest.mark.engine) for name in real)]
        metafunc.parametrize("host", params, indirect=True)


@pytest.fixture
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    """Return each kind of engine in turn, and remove what the test made on it."""
    fixture = request.getfixturevalue
    if request.param == "memory":
        yield FakeHost()
        return
    if request.param == "ssh":
        real: RealHost = fixture("remote_host")
    else:
        real = RealHost(fixture("engine"), fixture("tiny_image"), fixture("traces"))
    yield real
    real.traces.remove_containers()
    real.traces.remove_networks()


@pytest.fixture
def docker_host(engine: DockerEngine, tiny_image: str, traces: Traces) -> Iterator[RealHost]:
    """Return the real engine, and remove what the test made on it."""
    real = RealHost(engine, tiny_image, traces)
    yield real
    traces.remove_containers()
    traces.remove_networks()


def spec_for(host: Host, command: Sequence[str] = FOREVER, **changes: Any) -> ContainerSpec:
    values: dict[str, Any] = {
        "name": host.name(),
        "image": host.image,
        "command": command,
        "user": "65532:65532",
        "labels": {},
        "memory": 32 * 1024**2,
        "cpus": 0.5,
        "pids": 32,
        "restarts": 1,
        "stop_grace": 1,
    }
    return ContainerSpec(**values | changes)


def created(host: Host, command: Sequence[str] = FOREVER, **changes: Any) -> str:
    return host.engine.create(spec_for(host, command, **changes))


def started(host: Host, command: Sequence[str] = FOREVER, **changes: Any) -> str:
    container = created(host, command, **changes)
    host.engine.start(container)
    return container


def condition(host: Host, container: str) -> Condition:
    found = host.engine.condition(container)
    assert found is not None
    return found


def details(host: Host, container: str) -> Details:
    found = host.engine.details(container)
    assert found is not None
    return found


def ended(host: Host, container: str) -> Condition:
    """Return how a container is doing once it has ended."""
    assert eventually(lambda: condition(host, container).state == "exited")
    return condition(host, container)


def listed(host: Host, container: str) -> Container:
    (found,) = [one for one in host.engine.containers() if one.id == container]
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def publishing(port: int, address: str = "127.0.0.1") -> PublishedPort:
    return PublishedPort(address=address, host_port=port, container_port=9000)


def rootfs() -> io.BytesIO:
    return archive_of({"etc/motd": "hello\n"})


def archive_of(files: Mapping[str, str]) -> io.BytesIO:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    stream.seek(0)
    return stream


def log_of(host: Host, container: str, **how: Any) -> bytes:
    return b"".join(host.engine.logs(container, **how))


# A container's life


def test_the_engine_says_what_it_is(host: Host) -> None:
    assert host.engine.name == host.kind
    assert host.engine.version()


def test_the_engine_says_how_it_is_run_and_reached(host: Host) -> None:
    facts = host.engine.facts()

    assert facts.version == host.engine.version()
    assert facts.host
    assert facts.chosen_by
    assert facts.transport == ("ssh" if isinstance(host, RemoteHost) else "socket")
    assert not (facts.rootless and facts.remapped)
    # Other tests see that the limits hold.
    assert facts.unlimited.isdisjoint({"memory", "pids", "cpus"})


def test_a_created_container_does_not_run_yet(host: Host) -> None:
    container = created(host)

    found = condition(host, container)

    assert (found.state, found.pid, found.exit_code, found.restarts) == ("created", None, 0, 0)


def test_a_started_container_runs_as_a_process_of_the_host(host: Host) -> None:
    container = started(host)

    found = condition(host, container)

    assert found.state == "running"
    assert found.pid is not None
    assert found.pid > 0


def test_starting_what_runs_changes_nothing(host: Host) -> None:
    container = started(host)
    before = condition(host, container)

    host.engine.start(container)

    assert condition(host, container) == before


def test_stopping_ends_the_app_with_a_signal(host: Host) -> None:
    container = started(host)
    time.sleep(0.1 if isinstance(host, RealHost) else 0)  # until its init forwards signals

    host.engine.stop(container)

    found = condition(host, container)
    assert (found.state, found.pid, found.exit_code) == ("exited", None, TERMINATED)


def test_an_app_that_ignores_the_signal_is_killed_when_the_grace_is_over(host: Host) -> None:
    container = started(host, STUBBORN, stop_grace=300)

    before = time.monotonic()
    host.engine.stop(container, grace=0)

    assert time.monotonic() - before < 10
    assert condition(host, container).exit_code == KILLED


def test_stopping_what_does_not_run_is_fine(host: Host) -> None:
    never_started = created(host)
    stopped = started(host)
    host.engine.stop(stopped, grace=0)
    before = condition(host, stopped)

    host.engine.stop(never_started)
    host.engine.stop(stopped)
    host.engine.stop(NO_ID)

    assert condition(host, never_started).state == "created"
    assert condition(host, stopped) == before


def test_a_stopped_container_is_not_started_again_by_the_engine(host: Host) -> None:
    container = started(host, restarts=5)

    host.engine.stop(container, grace=0)
    time.sleep(0.3 if isinstance(host, RealHost) else 0)

    found = condition(host, container)
    assert (found.state, found.restarts) == ("exited", 0)


def test_a_stopped_container_can_be_started_again(host: Host) -> None:
    container = started(host)
    host.engine.stop(container, grace=0)

    host.engine.start(container)

    found = condition(host, container)
    assert (found.state, found.exit_code) == ("running", 0)


def test_removing_kills_and_leaves_nothing(host: Host) -> None:
    container = started(host)

    host.engine.remove(container)

    assert host.engine.condition(container) is None
    assert container not in [one.id for one in host.engine.containers()]


def test_removing_what_is_gone_is_fine(host: Host) -> None:
    container = created(host)
    host.engine.remove(container)

    host.engine.remove(container)
    host.engine.remove(NO_ID)

    assert host.engine.condition(container) is None


def test_starting_what_is_gone_is_an_error(host: Host) -> None:
    with pytest.raises(JobctlError):
        host.engine.start(NO_ID)


def test_an_app_that_fails_leaves_its_exit_code(host: Host) -> None:
    container = started(host, FAILS, restarts=1)

    assert eventually(lambda: condition(host, container).restarts == 1)
    found = ended(host, container)
    assert (found.pid, found.exit_code) == (None, 3)


def test_without_restarts_an_app_that_fails_stays_ended(host: Host) -> None:
    found = ended(host, started(host, FAILS, restarts=0))

    assert (found.exit_code, found.restarts) == (3, 0)


def test_an_app_that_ends_well_is_not_started_again(host: Host) -> None:
    found = ended(host, started(host, ["true"], restarts=5))

    assert (found.exit_code, found.restarts) == (0, 0)


def test_an_app_that_fails_is_started_again_and_that_is_counted(host: Host) -> None:
    container = started(host, restarts=3)
    before = condition(host, container)
    time.sleep(0.1 if isinstance(host, RealHost) else 0)

    host.fail_once(container)

    assert eventually(lambda: condition(host, container).restarts == 1)
    assert eventually(lambda: condition(host, container).state == "running")
    assert condition(host, container).pid != before.pid


def test_the_engine_gives_up_on_an_app_that_keeps_failing(host: Host) -> None:
    container = started(host, FAILS, restarts=2)

    assert eventually(lambda: condition(host, container).restarts == 2)
    found = ended(host, container)
    assert (found.exit_code, found.restarts) == (3, 2)


def test_a_container_that_somebody_removed_has_no_condition(host: Host) -> None:
    container = started(host)

    host.vanish(container)

    assert host.engine.condition(container) is None


def test_a_paused_container_is_listed_as_paused(host: Host) -> None:
    container = started(host)

    host.pause(container)

    assert listed(host, container).state == "paused"


# Claims: names and ports


def test_a_name_can_be_had_once(host: Host) -> None:
    spec = spec_for(host)
    host.engine.create(spec)

    with pytest.raises(ClaimLost, match=spec.name):
        host.engine.create(spec)


def test_of_many_who_claim_a_name_one_gets_it(host: Host) -> None:
    spec = spec_for(host)

    def claim(_: int) -> str | None:
        try:
            return host.engine.create(spec)
        except ClaimLost:
            return None

    with ThreadPoolExecutor(8) as pool:
        won = [container for container in pool.map(claim, range(8)) if container]

    assert len(won) == 1
    assert listed(host, won[0]).name == spec.name


def test_a_name_is_free_again_after_removal(host: Host) -> None:
    spec = spec_for(host)
    host.engine.remove(host.engine.create(spec))

    assert host.engine.create(spec)


def test_a_port_that_another_container_publishes_is_refused_at_start(host: Host) -> None:
    network, port = host.engine.ensure_network(host.network_name()), free_port()
    started(host, publish=publishing(port), network=network)
    late = created(host, publish=publishing(port), network=network)

    with pytest.raises(ClaimLost):
        host.engine.start(late)

    assert condition(host, late).state == "created"


def test_a_port_on_all_addresses_collides_with_one_address(host: Host) -> None:
    network, port = host.engine.ensure_network(host.network_name()), free_port()
    started(host, publish=publishing(port), network=network)
    late = created(host, publish=publishing(port, "0.0.0.0"), network=network)

    with pytest.raises(ClaimLost):
        host.engine.start(late)


def test_one_port_on_two_addresses_is_two_ports(host: Host) -> None:
    network, port = host.engine.ensure_network(host.network_name()), free_port()
    started(host, publish=publishing(port), network=network)

    other = started(host, publish=publishing(port, "127.0.0.2"), network=network)

    assert condition(host, other).state == "running"


def test_a_port_that_a_process_of_the_host_has_is_refused_at_start(host: Host) -> None:
    network, port = host.engine.ensure_network(host.network_name()), free_port()
    container = created(host, publish=publishing(port), network=network)

    with host.process_on(port), pytest.raises(ClaimLost):
        host.engine.start(container)

    host.engine.start(container)
    assert condition(host, container).state == "running"


def test_a_port_is_free_again_once_its_container_is_stopped(host: Host) -> None:
    network, port = host.engine.ensure_network(host.network_name()), free_port()
    host.engine.stop(started(host, publish=publishing(port), network=network), grace=0)

    late = started(host, publish=publishing(port), network=network)

    assert condition(host, late).state == "running"


# Images


def test_a_container_of_an_image_that_is_not_there(host: Host) -> None:
    with pytest.raises(ImageMissing) as caught:
        created(host, image="jobctl-test/absent")

    assert caught.value.image == "jobctl-test/absent"
    assert host.engine.image("jobctl-test/absent") is None


def test_an_image_that_no_registry_has_can_not_be_pulled(host: Host) -> None:
    assert host.engine.pull("127.0.0.1:9/jobctl-test/absent") is False


@pytest.fixture
def tag(host: Host) -> Iterator[str]:
    """Return a tag for an image, which is removed after the test."""
    name = f"jobctl-test/made:{host.name()}"
    yield name
    if isinstance(host, RealHost) and host.engine.image(name):
        host.traces.api.remove_image(name, force=True)


def test_an_imported_image_has_its_labels(host: Host, tag: str) -> None:
    host.engine.import_image(rootfs(), tag=tag, labels={"jobctl.source": "abc def"})

    found = host.engine.image(tag)

    assert found is not None
    assert found.tag == tag
    assert found.labels == {"jobctl.source": "abc def"}
    assert found.size > 0


def test_what_is_no_root_file_system_can_not_be_imported(host: Host, tag: str) -> None:
    with pytest.raises(JobctlError):
        host.engine.import_image(io.BytesIO(b"no tar" * 400), tag=tag, labels={})

    assert host.engine.image(tag) is None


def test_a_tag_is_another_name_of_an_image(host: Host, tag: str) -> None:
    host.engine.tag(host.image, tag)

    one, other = host.engine.image(host.image), host.engine.image(tag)
    assert one is not None
    assert other is not None
    assert one.id == other.id


def test_tagging_an_image_that_is_not_there_is_an_error(host: Host, tag: str) -> None:
    with pytest.raises(JobctlError):
        host.engine.tag("jobctl-test/absent", tag)


def test_a_built_image_has_the_labels_and_arguments_it_was_built_with(host: Host, tag: str) -> None:
    dockerfile = f"FROM {host.image}\nARG COLOUR\nLABEL colour=$COLOUR\n"
    context = archive_of({"Dockerfile": dockerfile})

    lines = list(
        host.engine.build(context, tag=tag, labels={"jobctl.of": "x"}, args={"COLOUR": "red"})
    )

    found = host.engine.image(tag)
    assert found is not None
    assert found.labels["jobctl.of"] == "x"
    assert found.labels["colour"] == "red"
    assert any("LABEL colour" in line for line in lines)
    assert not any(line.endswith("\n") for line in lines)


def test_a_build_on_an_image_that_is_not_there_fails(host: Host, tag: str) -> None:
    context = archive_of({"Dockerfile": "FROM 127.0.0.1:9/jobctl-test/absent\n"})

    with pytest.raises(JobctlError):
        list(host.engine.build(context, tag=tag, labels={}, args={}))

    assert host.engine.image(tag) is None


# Lists


def test_containers_are_listed_with_what_was_asked_for(host: Host) -> None:
    name = host.name()
    container = created(host, name=name, labels={"jobctl.test": name, "other": "a=b c"})

    found = listed(host, container)

    assert (found.name, found.image, found.state) == (name, host.image, "created")
    assert (found.labels["jobctl.test"], found.labels["other"]) == (name, "a=b c")
    assert (found.health, found.ports) == (None, frozenset())


def test_lists_can_ask_for_labels_and_for_their_values(host: Host) -> None:
    key = f"jobctl.test.{host.name()}"
    one = created(host, labels={key: "one", "side": "left"})
    two = created(host, labels={key: "two", "side": "left"})
    created(host, labels={"side": "left"})

    def ids(*labels: str) -> set[str]:
        return {found.id for found in host.engine.containers(labels)}

    assert ids(key) == {one, two}
    assert ids(f"{key}=one") == {one}
    assert ids(key, "side=left") == {one, two}
    assert ids(f"{key}=one", "side=right") == set()
    assert {one, two} <= ids()


def test_ended_containers_are_listed_too(host: Host) -> None:
    container = started(host, TALKS)
    ended(host, container)

    assert listed(host, container).state == "exited"


def test_a_running_container_is_listed_with_its_port(host: Host) -> None:
    port = free_port()
    network = host.engine.ensure_network(host.network_name())
    container = started(host, publish=publishing(port), network=network)

    assert listed(host, container).ports == {port}


@pytest.mark.parametrize(("command", "health"), [("true", "healthy"), ("false", "unhealthy")])
def test_a_health_check_shows_in_the_list(host: Host, command: str, health: str) -> None:
    check = Healthcheck(command=[command], interval=0.1, timeout=2, retries=1)
    container = started(host, healthcheck=check)

    assert eventually(lambda: listed(host, container).health == health)


# Networks


def test_a_network_that_is_there_is_used_again(host: Host) -> None:
    name = host.network_name()

    assert host.engine.ensure_network(name) == host.engine.ensure_network(name)


def test_a_network_as_it_is(host: Host) -> None:
    name = host.network_name()
    assert host.engine.network(name) is None

    made = host.engine.ensure_network(name)

    found = host.engine.network(name)
    assert found is not None
    assert (found.id, found.isolated) == (made, True)
    assert [ipaddress.ip_network(subnet) for subnet in found.subnets]


def test_which_networks_a_container_is_on(host: Host) -> None:
    """Whether it runs, has not been started yet or has ended."""
    name = host.network_name()
    network = host.engine.ensure_network(name)
    container = created(host, network=network)

    def on() -> bool:
        (found,) = [one for one in host.engine.containers() if one.id == container]
        return bool({name, network} & found.networks)

    assert on()
    host.engine.start(container)
    assert on()
    host.engine.stop(container, grace=0)
    assert on()


def test_a_network_is_removed_unless_a_container_uses_it(host: Host) -> None:
    name = host.network_name()
    network = host.engine.ensure_network(name)
    container = started(host, network=network)
    with pytest.raises(EngineRefused):
        host.engine.remove_network(network)
    assert host.engine.network(name) is not None

    host.engine.remove(container)
    host.engine.remove_network(network)
    host.engine.remove_network(network)

    assert host.engine.network(name) is None


def test_sixteen_who_want_a_network_at_once_get_the_same(host: Host) -> None:
    name = host.network_name()
    together = threading.Barrier(16)

    def ensure(_: int) -> str:
        with host.another_connection() as engine:
            together.wait()
            return engine.ensure_network(name)

    with ThreadPoolExecutor(16) as pool:
        ids = set(pool.map(ensure, range(16)))

    assert len(ids) == 1
    assert host.networks_named(name) == list(ids)


def test_a_container_joins_the_network_of_one_that_runs(host: Host) -> None:
    network = host.engine.ensure_network(host.network_name())
    first = created(host, network=network)
    second = created(host, joins=first)

    with pytest.raises(JobctlError):
        host.engine.start(second)

    host.engine.start(first)
    host.engine.start(second)
    assert condition(host, second).state == "running"


def test_each_start_has_a_time_and_gives_another_endpoint(host: Host) -> None:
    """That is how a gateway is found that was restarted without the app that had joined it."""
    first = created(host, network=host.engine.ensure_network(host.network_name()))
    second = created(host, joins=first)
    assert condition(host, first).started_at < 0
    seen = []
    for _ in range(2):
        host.engine.start(first)
        host.engine.start(second)
        assert condition(host, first).started_at < condition(host, second).started_at
        seen.append((listed(host, first).endpoint, condition(host, first).started_at))
        assert listed(host, second).endpoint is None
        host.engine.stop(first, grace=0)
        host.engine.stop(second, grace=0)
        assert listed(host, first).endpoint is None

    (endpoint, before), (other, after) = seen
    assert endpoint
    assert other
    assert endpoint != other
    assert before < after


def test_a_container_can_not_join_one_that_is_not_there(host: Host) -> None:
    with pytest.raises(JobctlError):
        started(host, joins=NO_ID)


# Usage


def test_what_a_running_container_uses(host: Host) -> None:
    container, other, ended = started(host), started(host), started(host)
    host.engine.stop(ended, grace=0)

    before = host.engine.usage([container, other, ended, created(host), NO_ID])
    now = host.engine.usage([container])

    assert set(before) == {container, other}
    assert set(now) == {container}
    assert now[container].at > before[container].at > 0
    assert now[container].cpu_seconds >= before[container].cpu_seconds > 0
    assert 0 < now[container].memory <= 32 * 1024**2


def test_many_are_asked_for_what_they_use(host: Host) -> None:
    containers = [started(host) for _ in range(9)]

    assert list(host.engine.usage(containers)) == containers
    assert host.engine.usage([]) == {}


def test_it_is_known_when_a_container_ended(host: Host) -> None:
    container = started(host)
    assert condition(host, container).finished_at < 0
    host.engine.stop(container, grace=0)
    first = condition(host, container).finished_at
    assert first >= condition(host, container).started_at

    host.engine.start(container)
    host.engine.stop(container, grace=0)

    assert condition(host, container).finished_at > first


def test_cpu_time_and_bytes_are_counted(docker_host: RealHost) -> None:
    """Of a network by all who joined it, and without loopback."""
    engine = docker_host.engine
    port, network = free_port(), engine.ensure_network(docker_host.network_name())
    busy = ("sh", "-c", "(while true; do true; done) & exec nc -ll -p 9000 -e cat /bin/busybox")
    first = started(docker_host, busy, publish=publishing(port), network=network)
    second = started(docker_host, joins=first)
    before = engine.usage([second])[second]
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        size = sum(map(len, iter(lambda: client.recv(1 << 16), b"")))
    assert docker_host.run_inside(second, ["sh", "-c", "nc 127.0.0.1 9000 >/dev/null"]) == 0
    quiet = engine.usage([second])[second]

    assert size > 100_000
    assert size < quiet.sent - before.sent < 1.5 * size
    assert eventually(lambda: engine.usage([first])[first].cpu_seconds > 0.2)
    assert engine.usage([second])[second].cpu_seconds < 0.2


# Details and processes


def test_details_are_what_a_container_was_created_with(host: Host, tmp_path: Path) -> None:
    bind = Bind(source=str(tmp_path), target="/data", read_only=False)
    container = created(
        host,
        ["echo", "a b"],
        labels={"jobctl.test": "a=b c"},
        env={"COLOUR": "a=b", "NONE": ""},
        binds=[bind],
        memory=64 * 1024**2,
        cpus=0.75,
        pids=77,
    )

    found = details(host, container)

    assert list(found.command) == ["echo", "a b"]
    assert found.labels["jobctl.test"] == "a=b c"
    assert (found.env["COLOUR"], found.env["NONE"]) == ("a=b", "")
    assert found.user == "65532:65532"
    assert list(found.binds) == [bind]
    assert (found.memory, found.cpus, found.pids) == (64 * 1024**2, 0.75, 77)


def test_details_tell_that_a_container_is_locked_down(host: Host) -> None:
    found = details(host, created(host))

    assert (found.read_only, found.privileged, found.no_new_privileges) == (True, False, True)
    assert (list(found.cap_add), list(found.cap_drop)) == ([], ["ALL"])
    assert found.seccomp is None  # the engine's own
    assert list(found.binds) == []
    assert list(found.publishes) == []


def test_details_name_the_port_that_is_published(host: Host) -> None:
    publish, network = publishing(free_port()), host.engine.ensure_network(host.network_name())

    found = details(host, created(host, publish=publish, network=network))

    assert list(found.publishes) == [publish]


def test_details_tell_what_a_container_was_given_back(host: Host) -> None:
    found = details(host, created(host, read_only=False, cap_add=["NET_RAW"], user="0:0"))

    assert (found.read_only, list(found.cap_add), found.user) == (False, ["NET_RAW"], "0:0")


def test_a_container_has_an_address_while_it_runs_in_a_network_of_its_own(host: Host) -> None:
    network = host.engine.ensure_network(host.network_name())
    first = created(host, network=network)
    second = created(host, joins=first)
    assert list(details(host, first).addresses) == []

    host.engine.start(first)
    host.engine.start(second)

    (address,) = details(host, first).addresses
    assert ipaddress.ip_address(address)
    assert list(details(host, second).addresses) == []


def test_what_is_gone_has_no_details_and_no_processes(host: Host) -> None:
    assert host.engine.details(NO_ID) is None
    assert host.engine.processes(NO_ID) == []


def test_a_running_container_has_processes_of_its_user(host: Host) -> None:
    container = started(host, ["sleep", "1000"], user="65531:65531")

    def found() -> list[Process]:
        processes = host.engine.processes(container)
        return [process for process in processes if process.command == "sleep 1000"]

    (process,) = eventually(found)  # the init comes first
    assert process.uid == host.uid(65531)
    assert {process.uid for process in host.engine.processes(container)} == {process.uid}
    assert process.pid > 0


def test_a_process_is_told_with_all_of_its_command(host: Host) -> None:
    """However long: ``ps`` likes to cut its lines at the width of a terminal."""
    container = started(host, ["sh", "-c", "sleep 1000; true", "x" * 5000])

    def told() -> bool:
        found = host.engine.processes(container)
        return any(process.command.endswith("x" * 5000) for process in found)

    assert eventually(told)  # at first, it is the engine that prepares it


def test_what_does_not_run_has_no_processes(host: Host) -> None:
    container = created(host)
    assert host.engine.processes(container) == []

    host.engine.start(container)
    host.engine.stop(container, grace=0)

    assert host.engine.processes(container) == []


# Inside


def test_the_log_has_both_streams(host: Host) -> None:
    container = started(host, TALKS)
    ended(host, container)

    assert sorted(log_of(host, container).splitlines()) == [b"to stderr", b"to stdout"]


@pytest.mark.parametrize(("tail", "lines"), [(0, 0), (1, 1), (50, 2)])
def test_the_end_of_the_log(host: Host, tail: int, lines: int) -> None:
    container = started(host, TALKS)
    ended(host, container)

    assert len(log_of(host, container, tail=tail).splitlines()) == lines


def test_following_a_log_ends_with_the_container(host: Host) -> None:
    container = started(host, TALKS)

    log = log_of(host, container, follow=True)

    assert sorted(log.splitlines()) == [b"to stderr", b"to stdout"]


def test_a_container_that_is_gone_has_no_log(host: Host) -> None:
    with pytest.raises(JobctlError):
        log_of(host, NO_ID)


# Only the real engine: what the kernel and the wire do


def output_of(host: Host, script: str, **changes: Any) -> str:
    """Return what a shell script prints in a container, which it ends with."""
    container = started(host, ["sh", "-c", script], **changes)
    ended(host, container)
    return log_of(host, container).decode()


def test_every_container_is_locked_down(docker_host: RealHost) -> None:
    container = created(docker_host, memory=64 * 1024**2, cpus=1.5, pids=77, restarts=5)

    answer = docker_host.traces.api.inspect_container(container)

    limits = answer["HostConfig"]
    assert limits["CapDrop"] == ["ALL"]
    assert not limits["CapAdd"]
    assert limits["SecurityOpt"] == ["no-new-privileges:true"]
    assert limits["ReadonlyRootfs"] is True
    assert limits["Privileged"] is False
    assert limits["PidsLimit"] == 77
    assert limits["Memory"] == limits["MemorySwap"] == 64 * 1024**2
    assert limits["CpuQuota"] / limits["CpuPeriod"] == 1.5
    assert limits["Init"] is True
    assert limits["IpcMode"] == "private"
    assert limits["LogConfig"]["Config"] == {"max-size": "10m", "max-file": "3"}
    assert limits["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 5}
    assert answer["Config"]["User"] == "65532:65532"


def test_an_app_has_no_privileges_and_can_get_none(docker_host: RealHost) -> None:
    status = output_of(docker_host, "cat /proc/self/status")

    fields = dict(line.split(":\t") for line in status.splitlines() if ":\t" in line)
    assert {int(fields[key], 16) for key in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {0}
    assert fields["NoNewPrivs"] == "1"
    assert fields["Seccomp"] == "2"
    assert set(fields["Uid"].split()) == {"65532"}


def test_a_section_may_give_a_capability_back(docker_host: RealHost) -> None:
    status = output_of(
        docker_host, "cat /proc/self/status", cap_add=["NET_BIND_SERVICE"], user="0:0"
    )

    assert "CapEff:\t0000000000000400" in status


def test_an_app_can_write_to_its_scratch_space_only(docker_host: RealHost) -> None:
    said = output_of(
        docker_host,
        "touch /here 2>&1; touch /bin/here 2>&1; touch /tmp/here && echo written",
        tmpfs={"/tmp": "rw,size=1m,mode=1777"},  # noqa: S108, inside the container
    )

    assert said.count("Read-only file system") == 2
    assert said.endswith("written\n")


def test_the_root_file_system_is_writable_where_that_was_asked_for(docker_host: RealHost) -> None:
    assert output_of(docker_host, "touch /bin/x && echo ok", read_only=False, user="0:0") == "ok\n"


def test_a_mount_shows_at_its_target_and_is_read_only(
    docker_host: RealHost, tmp_path: Path
) -> None:
    shared = tmp_path / "shared dir"
    shared.mkdir()
    shared.chmod(0o777)
    (shared / "data").write_text("from the host\n")

    said = output_of(
        docker_host,
        "cat /data/data; touch /data/new 2>&1; touch /more/new",
        binds=[
            Bind(source=str(shared), target="/data"),
            Bind(source=str(shared), target="/more", read_only=False),
        ],
    )

    assert said.splitlines()[0] == "from the host"
    assert "Read-only file system" in said.splitlines()[1]
    assert (shared / "new").exists()


def files_seen(host: RealHost, directory: Path) -> str:
    """Return what a container says that has two files of a directory, and tries to change one."""
    config, key = directory / "config", directory / "key"
    for path in (config, key):
        path.write_text(f"the {path.name}\n")
        path.chmod(0o666)
    directory.chmod(0o755)
    script = f"cat {config} {key}; echo more >> {key}"
    return output_of(host, script, files=[str(config)], secrets=[str(key)])


def test_files_and_secrets_show_at_their_own_path_and_are_read_only(
    docker_host: RealHost, tmp_path: Path
) -> None:
    said = files_seen(docker_host, tmp_path)

    assert said.splitlines()[:2] == ["the config", "the key"]
    assert "Read-only file system" in said.splitlines()[2]


def test_on_another_machine_they_are_copies_that_go_with_the_container(
    remote_host: RemoteHost, tmp_path: Path
) -> None:
    (tmp_path / "other").write_text("of another job")
    said = files_seen(remote_host, tmp_path)

    assert {"the config", "the key"} <= set(said.splitlines())
    assert f"can't create {tmp_path}/key: Permission denied" in said
    (container,) = remote_host.traces.containers()
    shown = {bind.target for bind in details(remote_host, container).binds}
    assert shown == {str(tmp_path / "config"), str(tmp_path / "key")}
    (volume,) = remote_host.there.volumes()
    remote_host.engine.remove(container)
    assert remote_host.there.volumes() == []
    assert volume.startswith(PREFIX)


def test_copies_are_brought_up_to_date(remote_host: RemoteHost, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("old\n")
    container = created(remote_host, ("cat", str(key)), secrets=[str(key)])
    key.write_text("new\n")

    remote_host.engine.refresh(container)
    remote_host.engine.start(container)
    ended(remote_host, container)
    said = log_of(remote_host, container)
    remote_host.engine.remove(container)

    assert said == b"new\n"


def test_a_file_that_can_not_be_copied_leaves_no_container(
    remote_host: RemoteHost, tmp_path: Path
) -> None:
    with pytest.raises(JobctlError, match="absent"):
        created(remote_host, secrets=[str(tmp_path / "absent")])

    assert remote_host.traces.containers() == {}
    assert remote_host.there.volumes() == []


def test_a_mount_without_a_source_is_an_error_and_makes_no_directory(
    docker_host: RealHost, tmp_path: Path
) -> None:
    absent = tmp_path / "absent"

    with pytest.raises(JobctlError, match="absent"):
        started(docker_host, binds=[Bind(source=str(absent), target="/data")])

    assert not absent.exists()


def test_the_environment_and_the_working_directory(docker_host: RealHost) -> None:
    said = output_of(docker_host, 'echo "$COLOUR" $PWD', env={"COLOUR": "a $b"}, working_dir="/bin")

    assert said == "a $b /bin\n"


def test_too_many_processes_are_refused(docker_host: RealHost) -> None:
    script = "for n in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 5 & done; echo all"

    said = output_of(docker_host, script, pids=6)

    assert "can't fork" in said
    assert "all" not in said


def test_containers_of_one_network_can_not_reach_each_other(docker_host: RealHost) -> None:
    network = docker_host.engine.ensure_network(docker_host.network_name())
    server = started(docker_host, SERVES, network=network)
    networks = docker_host.traces.api.inspect_container(server)["NetworkSettings"]["Networks"]
    (address,) = [found["IPAddress"] for found in networks.values()]
    ask = f"nc -w 1 {address} 9000 </dev/null || echo no answer"

    def from_beside() -> bool:
        return output_of(docker_host, ask, joins=server) == "reached\n"

    assert eventually(from_beside)
    assert "no answer" in output_of(docker_host, ask, network=network)


def test_a_published_port_answers_on_its_address_only(docker_host: RealHost) -> None:
    network, port = docker_host.engine.ensure_network(docker_host.network_name()), free_port()
    started(docker_host, SERVES, publish=publishing(port), network=network)

    def answer() -> bytes:
        with (
            suppress(ConnectionResetError),
            socket.create_connection(("127.0.0.1", port), timeout=5) as client,
        ):
            return client.recv(100)
        return b""

    assert eventually(answer) == b"reached\n"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", port), timeout=5)


def test_an_app_that_takes_too_much_memory_is_known_for_it(docker_host: RealHost) -> None:
    hungry = "x=0123456789abcdef; while true; do x=$x$x; done"
    container = started(docker_host, ["sh", "-c", hungry], memory=16 * 1024**2)

    assert ended(docker_host, container).out_of_memory


# Engines that can't be asked


# The SDK leaves the socket of a connection that failed to the garbage collector.
unclosed = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


@pytest.fixture
def collected() -> Iterator[None]:
    """Collect the garbage of a test before the next one begins."""
    yield
    gc.collect()


@unclosed
@pytest.mark.usefixtures("collected")
def test_nobody_listens_on_the_socket(tmp_path: Path) -> None:
    with pytest.raises(EngineUnreachable, match=str(tmp_path)):
        DockerEngine(f"unix://{tmp_path}/absent.sock")


@unclosed
@pytest.mark.usefixtures("collected")
def test_the_engine_that_the_environment_names_is_the_only_one_tried(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/absent.sock")

    with pytest.raises(EngineUnreachable, match="DOCKER_HOST") as caught:
        connect()

    assert f"{tmp_path}/absent.sock" in str(caught.value)
    assert "/var/run/docker.sock" not in str(caught.value)


@pytest.mark.usefixtures("collected")
def test_the_engine_says_what_named_it(
    engine: DockerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", engine.endpoint)

    named = connect()
    facts = named.facts()
    named.close()

    assert (facts.endpoint, facts.chosen_by) == (engine.endpoint, "DOCKER_HOST")


@pytest.mark.usefixtures("collected")
def test_a_certificate_for_the_engine_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path))

    with pytest.raises(EngineUnreachable, match=r"client_cert.*Mend DOCKER_HOST"):
        connect()


class Wire(socketserver.StreamRequestHandler):
    """Speaks just enough of the engine's API to go away in the middle of an answer."""

    def handle(self) -> None:
        request, length = self.rfile.readline().decode(), 0
        while header := self.rfile.readline().strip().lower():
            length = int(header[15:]) if header.startswith(b"content-length:") else length
        self.rfile.read(length)
        if "/version" in request:
            self.answer({"Version": "20.10", "ApiVersion": "1.41"})
        elif "/logs" in request:
            self.begin(b"\1\0\0\0\0\0\0\6hello\n")
        elif "/build" in request:
            self.begin(b'{"stream": "Step 1"}\r\n')
        elif "/going" in request:
            self.answer({"Config": {"Tty": False}})

    def answer(self, value: object) -> None:
        body = json.dumps(value).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        self.wfile.write(head.encode() + body)

    def begin(self, body: bytes) -> None:
        """Send one chunk whole and the next torn."""
        self.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        self.wfile.write(b"%x\r\n%s\r\n%x\r\n%s" % (len(body), body, len(body), body[:4]))


@pytest.fixture
def torn(tmp_path: Path) -> Iterator[DockerEngine]:
    """Connect to an engine that goes away in the middle of an answer."""
    path = tmp_path / "engine.sock"
    with socketserver.UnixStreamServer(str(path), Wire) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        engine = DockerEngine(f"unix://{path}")
        yield engine
        engine.close()
        server.shutdown()
        thread.join()


def test_an_engine_that_goes_away_before_it_answers(torn: DockerEngine) -> None:
    with pytest.raises(EngineUnreachable):
        torn.condition("absent")


def test_a_log_ends_where_the_engine_goes_away(torn: DockerEngine) -> None:
    assert list(torn.logs("going", follow=True)) == [b"hello\n"]


def test_a_build_fails_where_the_engine_goes_away(torn: DockerEngine) -> None:
    lines = torn.build(archive_of({"Dockerfile": "FROM x\n"}), tag="x", labels={}, args={})

    assert next(lines) == "Step 1"
    with pytest.raises(EngineUnreachable):
        next(lines)
