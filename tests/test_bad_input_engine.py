"""Containers and logs of people who mean harm, on the real engine and a real terminal."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from jobctl.labels import labels_of
from tests.bad_input import C1_COLOUR, FORGED_ROW, RAW, TURNED, WINDOW_TITLE, a_job
from tests.site import Site
from tests.test_terminal import spawn

pytestmark = pytest.mark.engine

IMAGE = "jobctl/base"
SERVER = r"""
import http.server, sys
print("\x1b]0;owned\x07 \x9b31m \u202e \x7f title \u00e9", flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])),
                                http.server.SimpleHTTPRequestHandler).serve_forever()
"""


@pytest.fixture
def hostile(site: Site) -> Iterator[int]:
    """Have containers that claim to be a job of the victim's, and return its port."""
    port = site.ports[1]
    made = []
    for part, role in (("", "gateway"), ("-app", "app")):
        values: dict[str, Any] = {
            "job_id": f"job_{port}",
            "port": str(port),
            "job_root": f"{site.directory}/",
            "protocol": "https",
            "host": "h",
            "owner": f"{WINDOW_TITLE}{TURNED}",
            "app": FORGED_ROW,
            "url": f"https://{C1_COLOUR}/",
            "created": "1462323460",
            "role": role,
        }
        labels = [f"--label=jobctl.{key}={value}" for key, value in values.items()]
        create = ["docker", "create", "--name", f"jobctl-job_{port}{part}", *labels, IMAGE, "true"]
        done = subprocess.run(create, check=True, capture_output=True, text=True)
        made.append(done.stdout.strip())
    yield port
    subprocess.run(["docker", "rm", "--force", *made], check=False, capture_output=True)


def test_hostile_containers_neither_break_nor_forge_anything(site: Site, hostile: int) -> None:
    mine = site.run_json("broker", "-r", "-a", "conduit", "-p", "0" * 32)
    for line in (
        *(["ps", "--all"], ["ps", "--all-users", "--all"], ["ps", "--all-users", "--json"]),
        *(["inspect", str(hostile)], ["logs", str(hostile)], ["start", str(hostile)]),
        ["run", "conduit", "--generate-password", "--port", str(hostile)],
    ):
        done = site.run(*line, check=False)
        assert "Traceback" not in done.stderr
        assert "a bug in jobctl" not in done.stderr
        assert not RAW.search(done.stdout + done.stderr)
        assert not any(row.startswith("job_1 ") for row in done.stdout.splitlines())
    # Never started and without a certificate, they were removed as what a killed launch leaves.
    assert site.run("rm", "--force", str(hostile)).returncode == 0
    assert [job["job_id"] for job in site.run_json("broker", "-q")] == [mine["job_id"]]
    assert site.run("rm", mine["job_id"]).stdout.strip() == mine["job_id"]


def test_labels_of_a_newer_version_survive_a_lost_record(site: Site) -> None:
    port = site.ports[1] - 1
    job = a_job(job_id=f"job_{port}", port=str(port), job_root=f"{site.directory}/")
    names = []
    site.authority()
    (site.directory / f"{job.job_id}.crt").touch()  # as a sign that it was launched from here
    try:
        for part, role in (("", "gateway"), ("-app", "app")):
            own = labels_of(job, "gateway") | {"jobctl.role": role, "jobctl.quota": "5 GB"}
            names.append(f"jobctl-job_{port}{part}")
            labels = [f"--label={key}={value}" for key, value in own.items()]
            create = ["docker", "create", "--name", names[-1], *labels, IMAGE, "true"]
            subprocess.run(create, check=True, capture_output=True)
        (found,) = site.run_json("broker", "-q")
        assert found["jobctl.quota"] == "5 GB"
        assert "5 GB" in site.run("inspect", job.job_id).stdout
    finally:
        subprocess.run(["docker", "rm", "--force", *names], check=False, capture_output=True)


def test_a_log_does_not_drive_the_terminal_and_is_whole_in_a_file(site: Site) -> None:
    site.configure("loud", image=IMAGE, command=["/usr/bin/python3", "-c", SERVER, "{port}"])
    job = site.run_json("run", "loud", "--generate-password", "--json")

    terminal = spawn(site, "logs", job["job_id"])
    terminal.expect("title é")
    shown = f"{terminal.before}{terminal.after}"
    assert not RAW.search(shown.replace("\r", ""))
    terminal.close()
    assert "\x1b]0;owned\x07 \x9b31m \u202e \x7f title é" in site.run("logs", job["job_id"]).stdout
    assert json.loads(site.run("inspect", job["job_id"], "--json").stdout)["status"] == "launched"
