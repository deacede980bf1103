"""Jobs on an engine of another machine: by ssh, by TLS and by a context, from launch to removal."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.far_host import FarHost, site_for
from tests.site import Site

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(os.getuid() != 0, reason="only root can make another machine"),
]

Job = dict[str, Any]


@pytest.fixture(scope="module")
def by_ssh(
    far_host: FarHost, installed_for_all: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """Return a place where a user has an alias of ssh's configuration as the engine's host."""
    root = tmp_path_factory.mktemp("by-ssh")
    with site_for(far_host, installed_for_all, root / "site", far_host.ssh) as site:
        yield site


@pytest.fixture
def job(by_ssh: Site) -> Iterator[Job]:
    yield by_ssh.run_json("run", "conduit", "--generate-password", "--json")
    by_ssh.clear()


def on_record(site: Site, job: Job) -> Job:
    listed: list[Job] = site.run_json("ps", "--all", "--json")
    (found,) = [one for one in listed if one["job_id"] == job["job_id"]]
    return found


def files_seen(host: FarHost, container: str) -> dict[str, str]:
    """Return the files that a container has of this job, with their modes and owners."""
    command = ["docker", "--host", host.endpoint, "exec", "-u", "0", container]
    command += ["find", "/", "-xdev", "-name", "job_*", "-printf", "%f %m %U\n"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return dict(line.split(" ", 1) for line in done.stdout.splitlines())


def test_a_job_from_launch_to_removal(by_ssh: Site, far_host: FarHost) -> None:
    job = by_ssh.run_json("run", "conduit", "--generate-password", "--json")

    assert (job["status"], job["host"]) == ("launched", far_host.address)
    print(json.dumps(job, indent=1))
    print(far_host.volumes())
    by_ssh.run("stop", job["job_id"])
    assert on_record(by_ssh, job)["status"] == "stopped"
    by_ssh.run("start", job["job_id"])
    assert by_ssh.run("logs", job["job_id"]).stdout
    by_ssh.run("rm", "--force", job["job_id"])
    by_ssh.assert_nothing_left()
    assert far_host.volumes() == []
