"""What has to hold after any fault and one ordinary command: nothing is lost, nothing is left."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
from collections import defaultdict
from collections.abc import Collection, Mapping
from copy import copy
from typing import Any

import requests
from requests.auth import HTTPDigestAuth

from tests.site import Site
from tests.waiting import eventually

PASSWORD = "correct horse battery"
RUN = ("run", "conduit", "--password-stdin", "--json")
SETTLED_WITHIN_S = 10
STATUSES = {"registered", "launched", "stopped", "exited", "unhealthy", "lost"}

Job = Mapping[str, Any]
_NONE: Mapping[str, str] = {}


def run_job(site: Site, *arguments: str) -> Job:
    """Return a job of the app ``conduit``, verified, with the password of the tests."""
    job: Job = site.run_json(*RUN, *arguments, stdin=f"{PASSWORD}\n")
    return job


def through(site: Site, endpoint: str) -> Site:
    """Return the same site, whose commands ask the engine at another endpoint."""
    other = copy(site)
    other.env = site.env | {"DOCKER_HOST": endpoint}
    return other


def statuses_of(site: Site, job: Job, password: str = PASSWORD) -> tuple[int, int]:
    """Return what clients get without and with the password, who trust the user's authority only.

    0 stands for none that answers.
    """
    return _get(site, job["url"], None), _get(
        site, job["url"], HTTPDigestAuth(job["owner"], password)
    )


def _get(site: Site, url: str, auth: HTTPDigestAuth | None) -> int:
    try:
        answer = requests.get(url, auth=auth, verify=site.authority(), timeout=5)
    except requests.RequestException as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise  # somebody else answers, or the job with another certificate
        return 0
    return answer.status_code


def serves(site: Site, job: Job, password: str = PASSWORD) -> bool:
    """Tell whether a job is reachable and protected."""
    return statuses_of(site, job, password) == (401, 200)


def settled(site: Site, job_id: str) -> Job:
    """Wait until what ``ps`` says of a job is so, and return the job.

    Whatever happens meanwhile, nobody is let in who must not be.
    """

    def look() -> Job | None:
        before = _shown(site, job_id)
        without, with_password = statuses_of(site, before)
        assert without in (401, 0), f"{job_id} opened up"
        after = _shown(site, job_id)
        told = (after["status"] == "launched") == (with_password == 200)
        return after if told and before["status"] == after["status"] else None

    job = eventually(look, timeout=SETTLED_WITHIN_S)
    assert job, f"{job_id} is not what it is said to be: {_shown(site, job_id)}"
    return job


def _shown(site: Site, job_id: str) -> Job:
    jobs: list[Job] = site.run_json("ps", "--all", "--json")
    return next(job for job in jobs if job["job_id"] == job_id)


def put_right(
    site: Site,
    *,
    kept: Collection[Job] = (),
    held: Collection[int] = (),
    passwords: Mapping[str, str] = _NONE,
) -> dict[str, Job]:
    """Let one ordinary command put things right, make sure that it did, and return the jobs."""
    shown = {job["job_id"]: job for job in site.run_json("ps", "--all", "--json")}
    labelled = {container.labels["jobctl.job_id"] for container in site.containers()}
    if not labelled <= set(_records(site)):
        # A busy engine can be at what a killed command asked for longer than the next one takes.
        time.sleep(1)
        shown = {job["job_id"]: job for job in site.run_json("ps", "--all", "--json")}
    recorded = assert_whole(site, kept=kept, held=held, passwords=passwords)
    assert {name: job["status"] for name, job in shown.items()} == {
        name: job["status"] for name, job in recorded.items()
    }
    return shown


def assert_whole(
    site: Site,
    *,
    kept: Collection[Job] = (),
    held: Collection[int] = (),
    passwords: Mapping[str, str] = _NONE,
) -> dict[str, Job]:
    """Make sure that records, containers, files and ports agree, and return the jobs on record.

    Jobs that are ``kept`` still work. Ports that are ``held`` by strangers are not looked at.
    ``passwords`` are those of jobs that have one of their own.
    """
    jobs = _records(site)
    _assert_containers_match(site, jobs)
    _assert_files_match(site, jobs)
    assert _networks(site).count("jobctl") <= 1
    running = {int(job["port"]) for job in jobs.values() if job["status"] in _RUNNING}
    low, high = site.ports
    for port in set(range(low, high + 1)) - running - set(held):
        assert bindable(port), f"nobody has port {port}, and it is taken"
    for job in jobs.values():
        if job["status"] == "launched":
            password = passwords.get(job["job_id"], PASSWORD)
            assert serves(site, job, password), f"{job['job_id']} is said to be launched"
    for job in kept:
        assert jobs[job["job_id"]]["status"] == "launched", f"{job['job_id']} was kept"
        assert jobs[job["job_id"]]["tls_fingerprint"] == job["tls_fingerprint"]
    return jobs


_RUNNING = {"launched", "unhealthy", "exited"}


def _records(site: Site) -> dict[str, Job]:
    """Return the jobs on record, of which none is under way any more."""
    path = site.directory / "connections.txt"
    if not path.exists():
        return {}
    found = path.lstat()
    assert path.is_file()
    assert not path.is_symlink()
    assert (found.st_mode & 0o777, found.st_uid) == (0o600, site.account.pw_uid)
    content = path.read_text()
    assert content == "" or content.endswith("\n")
    lines = [json.loads(line) for line in content.splitlines()]
    jobs = {job["job_id"]: job for job in lines}
    assert len(jobs) == len(lines), "a job is on record twice"
    for job in lines:
        assert job.get("intent") is None, f"{job['job_id']}: {job['intent']} is still under way"
        assert job["status"] in STATUSES
    return jobs


def _assert_containers_match(site: Site, jobs: Mapping[str, Job]) -> None:
    found = defaultdict(set)
    for container in site.containers():
        found[container.labels["jobctl.job_id"]].add(container.id)
    assert set(found) <= set(jobs), "containers without a record"
    for job_id, job in jobs.items():
        if job["status"] == "lost":
            assert found[job_id] < set(job["container_ids"])
        else:
            assert found[job_id] == set(job["container_ids"]), f"{job_id} lacks containers"
            assert found[job_id]


def _assert_files_match(site: Site, jobs: Mapping[str, Job]) -> None:
    names = [path.name for path in site.directory.iterdir()]
    assert [name for name in names if name.endswith(".new")] == []
    of_jobs = {match[0] for name in names if (match := re.match(r"job_\d+", name))}
    assert of_jobs == set(jobs), "files without a record, or the other way round"
    for path in site.directory.glob("job_*"):
        assert path.lstat().st_mode & 0o777 == 0o600


def _networks(site: Site) -> list[str]:
    command = ["docker", "network", "ls", "--filter", "label=jobctl.network"]
    shown = subprocess.run(
        [*command, "--format", "{{.Name}}"],
        check=True,
        capture_output=True,
        text=True,
        env=site.env,
    )
    return shown.stdout.split()


def bindable(port: int) -> bool:
    """Tell whether nobody listens on a port of loopback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
