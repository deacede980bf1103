"""What ``start`` brings back: containers, files and certificates that a job has lost."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from jobctl.engines.docker import DockerEngine
from tests.site import Site


@pytest.fixture
def served(site: Site) -> dict[str, Any]:
    """A job with a mount, a variable and arguments of its own, stopped again."""
    shown = site.root / "shown"
    shown.mkdir()
    (shown / "hello.txt").write_text("hello")
    for path in (site.root, shown):
        path.chmod(0o755)
    site.configure(
        "served",
        image="jobctl/base",
        command=["sh", "-c", 'cd "$WHERE" && exec python3 -m http.server {port} --bind "$0"'],
    )
    job: dict[str, Any] = site.run_json(
        *("run", "served", "--generate-password", "--json", "--mount", f"{shown}:/shown"),
        *("--env", "WHERE=/shown", "--set", "pids=77", "--", "127.0.0.1"),
    )
    return job


def fetch(site: Site, job: dict[str, Any], path: str = "hello.txt") -> str:
    """Return a page of a job, as its owner gets it."""
    return subprocess.run(
        [
            "curl",
            "-s",
            "--cacert",
            site.authority(),
            "--digest",
            "--config",
            "-",
            job["url"] + path,
        ],
        input=f'user = "{job["owner"]}:{job["password"]}"',
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@pytest.mark.parametrize("gone", ["gateway", "app", "both"])
def test_removed_containers_are_made_anew_as_they_were_ordered(
    site: Site, served: dict[str, Any], engine: DockerEngine, gone: str
) -> None:
    gateway, app = served["container_ids"]
    for container in {"gateway": [gateway], "app": [app], "both": [gateway, app]}[gone]:
        engine.remove(container)
    assert [job["status"] for job in site.run_json("ps", "--all", "--json")] == ["lost"]

    site.run("start", served["job_id"])

    assert fetch(site, served) == "hello"
    now = site.run_json("inspect", served["job_id"], "--json")
    assert now["status"] == "launched"
    details = engine.details(now["container_ids"][1])
    assert details is not None
    assert details.pids == 77
    assert [one.id for one in site.containers() if one.id in (gateway, app)] == []
    site.run("rm", "--force", served["job_id"])
    site.assert_nothing_left()


@pytest.mark.parametrize("suffix", [".key", ".crt", "_htpasswd", "_gateway.conf"])
def test_a_lost_file_is_made_anew(site: Site, served: dict[str, Any], suffix: str) -> None:
    site.run("stop", served["job_id"])
    (site.directory / (served["job_id"] + suffix)).unlink()

    site.run("start", served["job_id"])

    assert fetch(site, served) == "hello"


def test_without_the_order_the_user_is_told_to_launch_it_anew(
    site: Site, served: dict[str, Any], engine: DockerEngine
) -> None:
    for container in served["container_ids"]:
        engine.remove(container)
    (site.directory / f"{served['job_id']}_order.json").unlink()

    done = site.run("start", served["job_id"], check=False)

    assert done.returncode == 1
    assert "jobctl run served" in done.stderr


def test_the_port_of_a_lost_job_that_somebody_else_has_now(
    site: Site, served: dict[str, Any], engine: DockerEngine
) -> None:
    for container in served["container_ids"]:
        engine.remove(container)
    with socket.create_server(("127.0.0.1", int(served["port"]))):
        done = site.run("start", served["job_id"], check=False)
        assert done.returncode == 1
        assert served["port"] in done.stderr
        assert "Traceback" not in done.stderr

    site.run("start", served["job_id"])

    assert fetch(site, served) == "hello"


def test_a_certificate_close_to_its_end_is_renewed(site: Site, served: dict[str, Any]) -> None:
    """Seen from 70 days later, as faketime(1) has it; the job's own clock is the host's."""
    assert shutil.which("faketime"), "install faketime"
    before = served["tls_fingerprint"]
    later = ["faketime", "-f", "+70d", str(site.command)]

    advised = subprocess.run(
        [*later, "start", served["job_id"]],
        env=site.env,
        capture_output=True,
        text=True,
        check=True,
    )
    site.run("stop", served["job_id"])
    subprocess.run([*later, "start", served["job_id"]], env=site.env, check=True)

    now = site.run_json("inspect", served["job_id"], "--json")
    assert f"jobctl stop {served['job_id']} && jobctl start" in advised.stderr
    assert now["tls_fingerprint"] != before
    shown = subprocess.run(
        ["openssl", "x509", "-noout", "-fingerprint", "-sha256"],
        input=_certificate(int(served["port"])),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert shown.partition("=")[2].strip().replace(":", "").lower() == now["tls_fingerprint"]


def _certificate(port: int) -> str:
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{port}"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_a_renewed_certificate_is_known_after_the_records_are_lost(
    site: Site, served: dict[str, Any]
) -> None:
    """The containers' labels have the old one."""
    site.run("stop", served["job_id"])
    (site.directory / f"{served['job_id']}.key").unlink()
    site.run("start", served["job_id"])
    site.run("stop", served["job_id"])
    (site.directory / "connections.txt").unlink()

    site.run("start", served["job_id"])

    assert fetch(site, served) == "hello"


@pytest.mark.parametrize("state", ["lost", "garbled", "unreadable"])
def test_a_lost_authority_key_is_told_with_a_way_out(
    site: Site, served: dict[str, Any], state: str
) -> None:
    key: Path = site.directory / "ca.key"
    if state == "lost":
        key.unlink()
    elif state == "garbled":
        key.write_text("no key")
    else:
        key.unlink()
        key.mkdir()

    done = site.run("run", "served", "--generate-password", "--", "127.0.0.1", check=False)
    site.run("stop", served["job_id"])
    site.run("start", served["job_id"])  # whose certificate is there

    assert done.returncode == 1
    assert "move ca.crt and ca.key away" in done.stderr
    for name in ("ca.crt", "ca.key"):
        path = site.directory / name
        if path.exists():
            path.rename(site.root / f"old.{name}")
    again = site.run_json("run", "served", "--generate-password", "--json", "--", "127.0.0.1")
    assert again["status"] == "launched"
    lines = (site.directory / "connections.txt").read_text().splitlines()
    assert len([json.loads(line) for line in lines]) == 2
