"""Something happens to a job's containers behind our back: ``ps`` tells it, ``start`` mends it."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest

from jobctl.engines.base import Process
from jobctl.engines.docker import DockerEngine
from tests.site import Site
from tests.waiting import eventually
from tests.wholeness import PASSWORD, Job, put_right, run_job, serves, settled, statuses_of

pytestmark = pytest.mark.engine

GATEWAY, APP = 0, 1
EFFECT_AFTER_S = 1.0
"""After which what is killed has taken down with it what it takes down."""

# Takes more memory than there is as soon as it is asked to.
GLUTTON = """
import http.server, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/eat":
            eaten = b"x" * (1 << 30)
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""


def docker(command: str, *containers: str) -> None:
    subprocess.run(["docker", *command.split(), *containers], check=True, capture_output=True)


def shown(site: Site, job: Job) -> Job:
    """Return the job as ``ps`` has it now."""
    jobs: list[Job] = site.run_json("ps", "--all", "--json")
    return next(one for one in jobs if one["job_id"] == job["job_id"])


def bring_back(site: Site, job: Job) -> None:
    """Start a job again and make sure that it is as it was."""
    site.run("start", job["job_id"])
    assert statuses_of(site, job) == (401, 200)
    put_right(site, kept=[job])


@pytest.mark.parametrize(
    ("command", "which", "status", "reason"),
    [
        ("pause", [GATEWAY], "unhealthy", "its gateway is paused"),
        ("pause", [APP], "unhealthy", "its app is paused"),
        ("pause", [GATEWAY, APP], "unhealthy", "its gateway is paused; its app is paused"),
        ("stop --time 1", [GATEWAY], "unhealthy", "its gateway is exited"),
        ("stop --time 1", [APP], "exited", None),
        ("stop --time 1", [APP, GATEWAY], "exited", None),
        ("restart --time 1", [GATEWAY], "unhealthy", "its gateway was restarted without the app"),
        ("rm --force", [GATEWAY], "lost", "one of its containers was removed"),
        ("rm --force", [APP], "lost", "one of its containers was removed"),
        ("rm --force", [GATEWAY, APP], "lost", None),
    ],
)
def test_what_somebody_did_is_told_at_once(
    site: Site, command: str, which: list[int], status: str, reason: str | None
) -> None:
    job = run_job(site)

    docker(command, *(job["container_ids"][one] for one in which))

    now = shown(site, job)
    assert (now["status"], now["reason"]) == (status, reason)
    site.run("start", job["job_id"])
    assert statuses_of(site, job) == (401, 200)
    (back,) = put_right(site).values()
    assert back["status"] == "launched"


def test_an_app_restarted_by_somebody_is_still_there(site: Site) -> None:
    job = run_job(site)

    docker("restart --time 1", job["container_ids"][APP])

    # For as long as not each worker of the gateway has noticed, some requests fail.
    assert eventually(lambda: all(serves(site, job) for _ in range(10)))
    put_right(site, kept=[job])


def test_an_app_that_takes_too_much_memory(site: Site) -> None:
    """It is killed and restarted, five times at the most, and comes back when it is asked to."""
    site.configure(
        "glutton", image="jobctl/base", command=["python3", "-c", GLUTTON, "{port}"], memory="48m"
    )
    job: Job = site.run_json("run", "glutton", "--password-stdin", "--json", stdin=f"{PASSWORD}\n")

    def ended() -> Job | None:
        eat = {**job, "url": job["url"] + "eat"}
        assert statuses_of(site, eat)[0] in (401, 0)
        now = shown(site, job)
        return now if now["status"] == "exited" else None

    now = eventually(ended, timeout=60)

    assert now
    assert (now["exit_code"], now["reason"], now["restarts"]) == (137, "out of memory", 5)
    assert "exited (137, out of memory)" in site.run("ps", "--all").stdout
    bring_back(site, job)


def test_an_app_that_crashes_over_and_over(site: Site, engine: DockerEngine) -> None:
    job = run_job(site)

    def ended() -> Job | None:
        condition = engine.condition(job["container_ids"][APP])
        assert condition
        if condition.pid and (pid := site.run_json("inspect", job["job_id"], "--json")["pid"]):
            _kill(pid)
        now = shown(site, job)
        return now if now["status"] == "exited" else None

    now = eventually(ended, timeout=60)

    assert now
    assert (now["exit_code"], now["reason"], now["restarts"]) == (137, None, 5)
    bring_back(site, job)


def test_each_process_of_a_job_is_killed_in_turn(site: Site, engine: DockerEngine) -> None:
    """It serves again soon, or ``ps`` says what is broken; it is protected all the time."""
    job = run_job(site)

    killed = []
    for number in range(len(_processes(engine, job))):
        process = _processes(engine, job)[number]
        killed.append(process.command)
        print(f"killing {process.command}")
        _kill(process.pid)
        time.sleep(EFFECT_AFTER_S)
        began = time.monotonic()
        now = settled(site, job["job_id"])
        print(f"{now['status']} ({now['reason']}) after {time.monotonic() - began:.1f} s")
        if now["status"] != "launched":
            assert now["reason"] or now["exit_code"]
            site.run("start", job["job_id"])
        put_right(site, kept=[job])
    assert sum("lighttpd" in command for command in killed) >= 4  # with the shell around it
    assert sum("docker-init" in command for command in killed) == 2


def _processes(engine: DockerEngine, job: Job) -> list[Process]:
    return [one for container in job["container_ids"] for one in engine.processes(container)]


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
