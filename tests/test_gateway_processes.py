"""The gateway's processes end, one or all: what comes back by itself, and that nothing opens up."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from jobctl import gateway
from jobctl.engines.base import ContainerSpec
from jobctl.engines.docker import DockerEngine
from tests.conftest import Traces
from tests.gateway_site import APP_PORT, MB, App, Running, launched
from tests.waiting import eventually

pytestmark = pytest.mark.engine

APP = App(
    image="jobctl/base",
    command=["python3", "-m", "http.server", "--bind", "127.0.0.1", str(APP_PORT)],
)


@pytest.fixture(scope="module")
def healing(
    engine: DockerEngine, traces: Traces, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """A gateway whose lighttpd may be killed."""
    with launched(engine, traces, tmp_path_factory.mktemp("g"), auth="digest", app=APP) as running:
        yield running


@pytest.fixture
def mortal(engine: DockerEngine, traces: Traces, tmp_path: Path) -> Iterator[Running]:
    """A gateway that will not survive the test."""
    with launched(engine, traces, tmp_path, auth="digest", app=APP) as running:
        yield running


def processes(running: Running) -> dict[str, list[int]]:
    """Return the ids, within the container, of the shell, of lighttpd and of its workers."""
    found: dict[str, list[int]] = {"shell": [], "lighttpd": [], "worker": []}
    lines = running.output("ps -o pid,ppid,comm").splitlines()[1:]
    parents = {int(pid): (int(parent), name) for pid, parent, name in map(str.split, lines)}
    for pid, (parent, name) in parents.items():
        if name == "lighttpd":
            orphan = parents.get(parent, (0, ""))[1] != "lighttpd"
            found["lighttpd" if orphan else "worker"].append(pid)
        elif parent == 1:
            found["shell"].append(pid)
    return found


def status(running: Running) -> int | None:
    """Return the answer to who knows the password, ``None`` for no answer."""
    try:
        return running.get().status_code
    except requests.ConnectionError:
        return None


@contextmanager
def strangers(running: Running) -> Iterator[set[int]]:
    """Meanwhile, keep asking without the password; return the statuses of the answers so far."""
    seen: set[int] = set()
    over = threading.Event()

    def ask() -> None:
        while not over.wait(0.005):
            try:
                seen.add(running.get(auth=None).status_code)
            except requests.ConnectionError:
                continue

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def restarts(running: Running) -> int:
    condition = running.engine.condition(running.containers[0])
    assert condition is not None
    return condition.restarts


ONE, OTHER, ALL = slice(0, 1), slice(1, 2), slice(None)


@pytest.mark.parametrize(
    ("name", "which", "signal"),
    [
        pytest.param("worker", ONE, "KILL", id="a worker"),
        pytest.param("worker", OTHER, "KILL", id="the other worker"),
        pytest.param("worker", ALL, "KILL", id="both workers"),
        pytest.param("lighttpd", ALL, "KILL", id="their parent"),
        pytest.param("lighttpd", ALL, "TERM", id="their parent, asked to end"),
        pytest.param("lighttpd", ALL, "INT", id="their parent, asked to end in peace"),
    ],
)
def test_what_is_killed_comes_back(healing: Running, name: str, which: slice, signal: str) -> None:
    before = processes(healing)
    victims = before[name][which]
    with strangers(healing) as seen:
        began = time.monotonic()
        assert healing.inside(f"kill -{signal} {' '.join(map(str, victims))}") == 0
        assert eventually(
            lambda: (
                len((now := processes(healing))["worker"]) == 2
                and not set(victims) & {*now["worker"], *now["lighttpd"]}
            )
        )
        # As often as needed for each of the workers to answer.
        assert eventually(lambda: [status(healing) for _ in range(10)] == [200] * 10)
        assert time.monotonic() - began < 5
    assert seen == {401}
    after = processes(healing)
    assert (len(after["lighttpd"]), len(after["worker"])) == (1, 2), "workers were left behind"
    assert after["shell"] == before["shell"]
    assert restarts(healing) == 0


def test_it_says_that_it_started_again(healing: Running) -> None:
    (parent,) = processes(healing)["lighttpd"]
    assert healing.inside(f"kill -KILL {parent}") == 0
    assert eventually(lambda: "lighttpd ended with status 137, starting it again" in healing.log())
    assert eventually(lambda: status(healing) == 200)


@pytest.mark.parametrize("which", ["shell", "init"])
def test_without_what_starts_it_again_the_container_ends(mortal: Running, which: str) -> None:
    container = mortal.containers[0]
    with strangers(mortal) as seen:
        if which == "shell":
            (shell,) = processes(mortal)["shell"]
            mortal.inside(f"kill -KILL {shell}")
        else:
            subprocess.run(["docker", "kill", container], check=True, capture_output=True)
        # The engine may have restarted it, with a network namespace that is not the app's.
        assert eventually(lambda: restarts(mortal) > 0 or not running(mortal))
        assert eventually(lambda: status(mortal) is None)
    assert seen <= {401}


def running(site: Running) -> bool:
    condition = site.engine.condition(site.containers[0])
    return condition is not None and condition.state == "running"


def test_it_stops_when_asked(mortal: Running) -> None:
    with mortal.send("GET / HTTP/1.1"):
        began = time.monotonic()
        mortal.engine.stop(mortal.containers[0], grace=10)
    assert time.monotonic() - began < 1
    condition = mortal.engine.condition(mortal.containers[0])
    assert condition is not None
    assert condition.exit_code == 0


CONFIG = "/tmp/gateway.conf"  # noqa: S108, inside the container
SMALLEST = f"""
server.document-root = "/var/empty"
server.max-worker = 2
server.port = {gateway.own_port(APP_PORT)}
"""


@contextmanager
def alone(
    engine: DockerEngine, traces: Traces, *listeners: int, config: str = SMALLEST
) -> Iterator[str]:
    """Start a gateway with nothing but listeners in its container."""
    command = gateway.command(CONFIG, APP_PORT)
    script = [f"nc -ll -p {port} -e true &" for port in listeners]
    script += [f"echo '{config}' > {CONFIG}", 'exec "$@"']
    container = engine.create(
        ContainerSpec(
            name=traces.new_name(),
            image="jobctl/gateway",
            command=["/bin/busybox", "sh", "-c", "\n".join(script), "sh", *command],
            user="65532:65532",
            labels={},
            memory=64 * MB,
            cpus=1,
            pids=32,
            tmpfs={"/tmp": "size=1m,mode=1777"},  # noqa: S108, inside the container
        )
    )
    try:
        engine.start(container)
        yield container
    finally:
        engine.remove(container)


def log_at_the_end(engine: DockerEngine, container: str) -> str:
    """Return what a container wrote that ended by itself, soon."""
    # The engine starts it again, up to five times.
    ended = eventually(lambda: (now := engine.condition(container)) and now.restarts, timeout=3)
    log = b"".join(engine.logs(container)).decode()
    assert ended, log
    return log


def test_it_stops_when_asked_while_there_is_no_app(engine: DockerEngine, traces: Traces) -> None:
    with alone(engine, traces) as container:
        time.sleep(0.5)
        began = time.monotonic()
        engine.stop(container, grace=10)
        assert time.monotonic() - began < 1
        condition = engine.condition(container)
        assert condition is not None
        assert condition.exit_code == 0


def test_one_that_can_not_start_ends_and_says_why(engine: DockerEngine, traces: Traces) -> None:
    with alone(engine, traces, APP_PORT, config="no.such = ") as container:
        log = log_at_the_end(engine, container)
        assert "parser failed" in log
        assert "again" not in log


def test_one_whose_port_is_taken_ends_and_says_so(engine: DockerEngine, traces: Traces) -> None:
    taken = gateway.own_port(APP_PORT)
    with alone(engine, traces, APP_PORT, taken) as container:
        log = log_at_the_end(engine, container)
        assert "Address already in use" in log
        assert "again" not in log


def test_one_that_can_start_goes_on(engine: DockerEngine, traces: Traces) -> None:
    with alone(engine, traces, APP_PORT) as container:
        assert eventually(
            lambda: "server started" in b"".join(engine.logs(container)).decode(), timeout=5
        )
        time.sleep(1)
        condition = engine.condition(container)
        assert condition is not None
        assert (condition.state, condition.restarts) == ("running", 0)
