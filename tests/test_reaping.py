"""``reap``: what is over, idle or long ended goes, what is in use or another's stays."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from jobctl.engines.docker import DockerEngine
from tests.bench import Bench
from tests.engine_proxy import EngineProxy, Fault, When
from tests.profile import NIGHTLY
from tests.site import Site
from tests.test_faults_clock import at
from tests.waiting import eventually
from tests.wholeness import put_right, run_job, through

pytestmark = pytest.mark.engine
needs_faketime = pytest.mark.skipif(
    shutil.which("faketime") is None, reason="needs the package faketime"
)

SERVE = "python3 -m http.server {port} --bind 127.0.0.1"
DAY = 86_400
Job = Mapping[str, Any]


def fates(site: Site, *arguments: str) -> dict[str, dict[str, Any]]:
    """Reap, and return what came of each job, by its id."""
    return {one["job_id"]: one for one in site.run_json("reap", "--json", *arguments)}


def statuses(site: Site) -> dict[str, str]:
    return {job["job_id"]: job["status"] for job in site.run_json("ps", "--all", "--json")}


def expire(site: Site, job: Job) -> None:
    """Let a job's time be over."""
    site.run("broker", "-u", json.dumps({"job_id": job["job_id"], "expires": 1}))


def test_there_is_nothing_to_do(site: Site) -> None:
    done = site.run("reap")
    assert (done.stdout, done.stderr) == ("", "")
    assert site.run_json("reap", "--json", "--dry-run") == []


def test_a_job_whose_time_is_over_is_stopped_and_not_removed(site: Site) -> None:
    job, other = run_job(site, "--ttl", "2s"), run_job(site, "--ttl", "1h")

    assert eventually(lambda: site.run("reap").stdout, timeout=5).split("\n")[1].split() == [
        *(job["job_id"], "conduit", "stopped", "expired")
    ]

    assert time.time() >= job["expires"]
    jobs = put_right(site, kept=[other])
    assert jobs[job["job_id"]]["status"] == "stopped"
    assert jobs[job["job_id"]]["reason"] == "expired"
    assert site.run("logs", job["job_id"]).returncode == 0
    assert site.run("reap").stdout == ""


@contextmanager
def all_the_time(act: Callable[[], object]) -> Iterator[None]:
    """Do something over and over, in the background."""
    ended = threading.Event()

    def go_on() -> None:
        while not ended.wait(0.2):
            act()

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def open_websocket(site: Site, job: Job) -> Iterator[ssl.SSLSocket]:
    """Hold a WebSocket open, through the gateway, on which nothing is said."""
    login = base64.b64encode(f"{job['owner']}:{job['password']}".encode()).decode()
    lines = (
        *("GET /websocket HTTP/1.1", "Host: localhost", f"Authorization: Basic {login}"),
        *("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
        *("Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==", "", ""),
    )
    context = ssl.create_default_context(cafile=site.authority())
    with (
        socket.create_connection(("127.0.0.1", int(job["port"]))) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as client,
    ):
        client.sendall("\r\n".join(lines).encode())
        assert client.recv(100).startswith(b"HTTP/1.1 101 ")
        yield client


def test_idle_jobs_are_told_from_those_in_use(site: Site) -> None:
    """One is asked all the time, its twin is not; one works and is not asked; one is only open."""
    site.configure("quiet", image="jobctl/base", command=SERVE, idle_timeout="3s")
    burn = f"(while :; do :; done) & exec {SERVE}"
    site.configure("busy", image="jobctl/base", command=["sh", "-c", burn], cpus=0.3)
    new = ("--generate-password", "--json")
    asked, quiet = site.run_json("run", "quiet", *new), site.run_json("run", "quiet", *new)
    working = site.run_json("run", "busy", "--set", "idle_timeout=3s", *new)
    silent = site.run_json("run", "conduit", "--set", "hash_algorithm=bcrypt", *new)

    def ask() -> None:
        command = ["curl", "-s", "-o", "/dev/null", "--cacert", site.authority(), asked["url"]]
        subprocess.run(command, check=True)

    with all_the_time(ask), open_websocket(site, silent):
        first = fates(site, "--idle", "3s")
        assert {one["why"] for one in first.values()} == {"not looked at before"}
        deadline = time.monotonic() + 20
        stopped: dict[str, str] = {}
        while len(stopped) < 2 and time.monotonic() < deadline:
            time.sleep(0.5)
            seen = fates(site, "--idle", "3s")
            for job in (asked, working):
                assert seen[job["job_id"]]["action"] == "keep"
                assert seen[job["job_id"]]["why"].startswith("in use within the last ")
            stopped |= {key: one["why"] for key, one in seen.items() if one["action"] == "stop"}

    assert stopped.keys() == {quiet["job_id"], silent["job_id"]}
    assert all(why.startswith("idle for ") for why in stopped.values())
    shown = {job["job_id"]: job for job in site.run_json("ps", "--all", "--json")}
    assert shown[quiet["job_id"]]["reason"] == stopped[quiet["job_id"]]
    assert shown[asked["job_id"]]["status"] == shown[working["job_id"]]["status"] == "launched"

    # Started again, a job has all of its time.
    site.run("start", quiet["job_id"])
    again = fates(site)[quiet["job_id"]]
    assert (again["action"], again["why"][:20]) == ("keep", "in use within the la")


@needs_faketime
def test_what_would_be_done_is_told_and_not_done(site: Site, engine: DockerEngine) -> None:
    site.configure_general(keep_ended="30d")
    over, idle, ended = run_job(site, "--ttl", "1h"), run_job(site), run_job(site)
    site.run("stop", ended["job_id"])
    fates(site, "--idle", "2h")

    def everything() -> dict[str, object]:
        files = {path.name: (path.read_bytes(), path.stat()) for path in site.directory.iterdir()}
        return {**files, "containers": sorted((one.id, one.state) for one in site.containers())}

    before, later = everything(), at(site, "+31d")
    done = later.run("reap", "--dry-run", "--idle", "2h").stdout.splitlines()
    rows = [line.split(maxsplit=2)[0] + " " + line.split("  ", 2)[2].strip() for line in done[1:]]
    assert [" ".join(row.split()) for row in rows] == [
        f"{over['job_id']} would be stopped expired",
        f"{idle['job_id']} would be stopped idle for 31 days",
        f"{ended['job_id']} would be removed it ended 31 days ago",
    ]
    seen = fates(later, "--dry-run", "--idle", "2h")
    assert [one["action"] for one in seen.values()] == ["stop", "stop", "remove"]
    assert everything() == before

    assert fates(later, "--idle", "2h") == seen
    assert statuses(site) == {over["job_id"]: "stopped", idle["job_id"]: "stopped"}


@needs_faketime
def test_ended_jobs_are_kept_for_their_time(site: Site, engine: DockerEngine) -> None:
    """However they ended, and if the records are lost; what runs or waits for its start stays."""
    site.configure_general(keep_ended="30d")
    stopped, crashed, lost, running = (run_job(site) for _ in range(4))
    hash_ = site.run_json("inspect", running["job_id"], "--reveal", "--json")["password_hash"]
    waiting = site.run_json("broker", "-r", "-a", "conduit", "-p", hash_)
    site.run("stop", stopped["job_id"])
    for container in reversed(crashed["container_ids"]):
        engine.stop(container, grace=0)
    for container in lost["container_ids"]:
        engine.remove(container)
    ended = {job["job_id"] for job in (stopped, crashed, lost)}
    assert {key: status for key, status in statuses(site).items() if key in ended} == {
        stopped["job_id"]: "stopped",
        crashed["job_id"]: "exited",
        lost["job_id"]: "lost",
    }

    young = fates(at(site, "+29d"))
    assert {one["action"] for one in young.values()} == {"keep"}
    assert {young[job_id]["why"] for job_id in ended} == {"it ended 29 days ago"}

    # What is known of the end of those that have containers is known to the engine too.
    (site.directory / "connections.txt").unlink()
    anew = fates(at(site, "+29d"))
    assert {anew[job["job_id"]]["why"] for job in (stopped, crashed)} == {"it ended 29 days ago"}

    fates(at(site, "+31d"))
    assert statuses(site) == {waiting["job_id"]: "registered", running["job_id"]: "launched"}
    put_right(site, kept=[running])


@contextmanager
def reaping_held_up(
    site: Site, engine: DockerEngine, *moments: When
) -> Iterator[tuple[EngineProxy, subprocess.Popen[str]]]:
    """Start to reap, with the engine a second late each time that one of ``moments`` has come."""
    assert engine.local_socket
    with EngineProxy(engine.local_socket) as proxy:
        for moment in moments:
            proxy.at(moment, Fault.DELAY)
        with through(site, proxy.endpoint).start("reap", "--json") as process:
            yield proxy, process


def test_extended_before_it_was_decided(site: Site, engine: DockerEngine) -> None:
    """Whatever was seen before, what counts is the record as it is under the job's lock."""
    job = run_job(site)
    expire(site, job)

    before_any_lock: list[When] = [lambda seen, n=n: len(seen) == n for n in (1, 2, 3)]  # type: ignore[misc]
    with reaping_held_up(site, engine, *before_any_lock) as (proxy, process):
        assert eventually(lambda: proxy.struck)
        site.run("extend", job["job_id"], "1h")
        assert process.poll() is None
        (fate,) = json.loads(process.communicate()[0])

    assert (fate["action"], fate["why"]) == ("keep", "it ends in 1 hour")
    put_right(site, kept=[job])


def test_extended_while_it_is_being_stopped(site: Site, engine: DockerEngine) -> None:
    """That waits, and says that there is something to start."""
    job = run_job(site)
    expire(site, job)

    with reaping_held_up(site, engine, lambda seen: "/stop" in seen[-1].path) as (
        proxy,
        process,
    ):
        assert eventually(lambda: proxy.struck)
        extended = site.run("extend", job["job_id"], "1h")
        (fate,) = json.loads(process.communicate()[0])

    assert (fate["action"], fate["why"]) == ("stop", "expired")
    assert f"jobctl start {job['job_id']}" in extended.stderr
    site.run("start", job["job_id"])
    put_right(site, kept=[job])


def test_killed_at_each_request(bench: Bench) -> None:
    """The record is whole after each, and the next ``reap`` does what is left to be done."""
    site = bench.site
    subject = run_job(site)

    def ready() -> None:
        site.run("extend", subject["job_id"], "1h")
        site.run("start", subject["job_id"])
        expire(site, subject)

    ready()
    with EngineProxy(bench.engine_socket) as proxy:
        through(site, proxy.endpoint).run("reap")
        requests = len(proxy.requests)
    assert requests > 5
    # The last ones stop the containers; the first only look, under no lock.
    for number in range(1, requests + 1) if NIGHTLY else (requests - 4, requests - 2, requests):
        for fault in (Fault.KILL_BEFORE, Fault.KILL_AFTER) if NIGHTLY else (Fault.KILL_AFTER,):
            ready()
            with EngineProxy(bench.engine_socket) as proxy:
                proxy.at(lambda seen, number=number: len(seen) == number, fault)  # type: ignore[misc]
                through(site, proxy.endpoint).run("reap", check=False)
            assert proxy.struck, f"there was no request {number}"
            jobs = put_right(site, kept=[bench.bystander])
            assert jobs[subject["job_id"]]["status"] in ("launched", "stopped")
            site.run("reap")
            assert statuses(site)[subject["job_id"]] == "stopped"
