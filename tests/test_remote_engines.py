"""Jobs on an engine of another machine: by ssh, by TLS and by a context, from launch to removal."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.far_host import FarHost, site_for
from tests.site import Site
from tests.waiting import eventually
from tests.wholeness import PASSWORD, RUN, run_job

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(os.getuid() != 0, reason="only root can make another machine"),
]

Job = dict[str, Any]
KILLED_AFTER_S = (1.0, 1.6, 2.2)
VIEWER = "/opt/conduit/bin/conduit_relay_node_viewer"


@pytest.fixture(scope="module")
def by_ssh(
    far_host: FarHost, installed_for_all: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """Return a place where a user has an alias of ssh's configuration as the engine's host."""
    root = tmp_path_factory.mktemp("by-ssh")
    with site_for(far_host, installed_for_all, root / "site") as site:
        site.env["DOCKER_HOST"] = far_host.ssh
        yield site


@pytest.fixture
def site(by_ssh: Site) -> Iterator[Site]:
    """Return the same, and remove what the test leaves."""
    yield by_ssh
    by_ssh.clear()
    for path in (*by_ssh.directory.glob("job_*"), by_ssh.directory / "connections.txt"):
        path.unlink()


def docker(host: FarHost, *words: str) -> str:
    command = ["docker", "--host", host.endpoint, *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def inspected(host: FarHost, job: Job) -> dict[str, Any]:
    """Return what the engine tells of a job's containers, by their role."""
    found = json.loads(docker(host, "inspect", *job["container_ids"]))
    return {one["Config"]["Labels"]["jobctl.role"]: one for one in found}


def status_there(host: FarHost, site: Site, job: Job, *login: str) -> str:
    """Return what a client on the engine's host gets."""
    ask = ["curl", "-sS", "--cacert", f"{site.directory}/ca.crt", *login, job["url"]]
    return host.run(*ask, "-o", "/dev/null", "-w", "%{http_code}").stdout


def certificate(site: Site, job: Job) -> str:
    """Return for whom a job's certificate is."""
    command = ["openssl", "x509", "-noout", "-ext", "subjectAltName", "-in"]
    command.append(f"{site.directory}/{job['job_id']}.crt")
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def on_record(site: Site, job: Job) -> Job:
    listed: list[Job] = site.run_json("ps", "--all", "--json")
    (found,) = [one for one in listed if one["job_id"] == job["job_id"]]
    return found


def test_a_job_from_launch_to_removal(site: Site, far_host: FarHost) -> None:
    launched = site.run(*RUN, stdin=f"{PASSWORD}\n")
    job = json.loads(launched.stdout)
    login = ["--digest", "--user", f"{job['owner']}:{PASSWORD}"]

    assert (job["status"], job["host"]) == ("launched", far_host.address)
    assert f"does not see {site.state.parent}: the engine is on" in launched.stderr
    assert status_there(far_host, site, job) == "401"
    assert status_there(far_host, site, job, *login) == "200"
    with socket.socket() as here:
        assert here.connect_ex(("127.0.0.1", int(job["port"]))) != 0
    for name in (f"IP Address:{far_host.address}", "DNS:localhost", "IP Address:127.0.0.1"):
        assert name in certificate(site, job)

    site.run("stop", job["job_id"])
    assert on_record(site, job)["status"] == "stopped"
    site.run("start", job["job_id"])
    assert on_record(site, job)["status"] == "launched"
    assert status_there(far_host, site, job, *login) == "200"
    assert "serving" in site.run("logs", job["job_id"]).stdout
    site.run("rm", "--force", job["job_id"])

    site.assert_nothing_left()
    assert far_host.volumes() == []
    assert _ssh_processes() == []


def _ssh_processes() -> list[str]:
    """Return the command lines of jobctl's connections."""
    lines = [" ".join(one.info["cmdline"] or ()) for one in psutil.process_iter(["cmdline"])]
    return [line for line in lines if "/tmp/jobctl-ssh-" in line and "bigbox" in line]  # noqa: S108


def test_each_container_gets_copies_of_its_own_files_and_nothing_else(
    site: Site, far_host: FarHost
) -> None:
    job = run_job(site)
    (job_id, uid), found = (job["job_id"], str(site.account.pw_uid)), inspected(far_host, dict(job))

    gateway = found["gateway"]
    (volume,) = [one for one in gateway["Mounts"] if one["Destination"] == str(site.directory)]
    seen = {
        path.name: (f"{path.stat().st_mode & 0o777:o}", str(path.stat().st_uid))
        for path in Path(volume["Source"]).iterdir()  # its disk is one of this machine's
    }
    wanted = (".key", ".crt", "_htpasswd", "_gateway.conf")
    assert seen == {job_id + suffix: ("400", uid) for suffix in wanted}
    assert (volume["Type"], volume["RW"]) == ("volume", False)
    assert [one["Type"] for one in found["app"]["Mounts"] if one["Type"] != "tmpfs"] == []
    assert "bind" not in [one["Type"] for one in gateway["Mounts"]]
    key = (site.directory / f"{job_id}.key").read_text().splitlines()[1]
    hash_ = (site.directory / f"{job_id}_htpasswd").read_text().strip().rpartition(":")[2]
    told = json.dumps(found) + docker(far_host, "volume", "inspect", volume["Name"])
    assert key not in told
    assert hash_ not in told


def test_a_renewed_certificate_gets_there_with_the_next_start(
    site: Site, far_host: FarHost
) -> None:
    """Seen from 70 days later, as faketime(1) has it; the job's own clock is the host's."""
    assert shutil.which("faketime"), "install faketime"
    job = run_job(site)
    site.run("stop", job["job_id"])

    later = ["faketime", "-f", "+70d", str(site.command), "start", job["job_id"]]
    subprocess.run(later, env=site.env, check=True, **site.identity)

    now = on_record(site, dict(job))
    assert (now["status"], now["tls_fingerprint"] != job["tls_fingerprint"]) == ("launched", True)
    assert len(far_host.volumes()) == 2  # its own, and one that the gateway's image asks for


def test_a_port_that_is_taken_there(site: Site, far_host: FarHost) -> None:
    low = site.ports[0]
    here = socket.create_server(("127.0.0.1", low + 1))  # where that does not matter
    with here, far_host.process_on(low):
        job = run_job(site)
        refused = site.run(*RUN, "--port", str(low), stdin="x\n", check=False)

    assert job["port"] == str(low + 1)
    assert refused.returncode == 1
    assert f"port {low} is taken" in refused.stderr


def test_a_launch_that_is_killed_leaves_nothing_after_the_next_command(
    site: Site, far_host: FarHost
) -> None:
    seen = set()
    for pause in KILLED_AFTER_S:
        with site.start(*RUN, stdin=f"{PASSWORD}\n") as process:
            time.sleep(pause)
            process.send_signal(signal.SIGKILL)
        assert eventually(lambda: _ssh_processes() == [])
        names = docker(far_host, "ps", "--all", "--format", "{{.Names}}").split()
        seen.add((len(names), len(far_host.volumes())))
        jobs = site.run_json("ps", "--all", "--json")
        if jobs:  # it was through already
            site.run("rm", "--force", *(job["job_id"] for job in jobs))
        site.assert_nothing_left()
        assert far_host.volumes() == []
    print(sorted(seen))


def test_what_a_launch_left_of_copies_is_found_by_labels(site: Site, far_host: FarHost) -> None:
    """As after a kill while they were made, or with containers that somebody removed by hand."""
    job = run_job(site)
    gateway, app = job["container_ids"]
    volume = next(name for name in far_host.volumes() if name.startswith("jobctl-"))
    labels = inspected(far_host, dict(job))["gateway"]["Config"]["Labels"]
    docker(far_host, "rm", "--force", gateway, app)
    given = [f"--label={name}={value}" for name, value in labels.items()]
    helper = f"jobctl-{job['job_id']}-files"
    docker(far_host, "create", "--name", helper, *given, "-v", f"{volume}:/f", "jobctl/gateway")

    assert on_record(site, dict(job))["status"] == "lost"
    site.run("rm", job["job_id"])

    assert docker(far_host, "ps", "--all", "--quiet") == ""
    assert [name for name in far_host.volumes() if name.startswith("jobctl-")] == []
    docker(far_host, "volume", "prune", "--force")


def test_a_host_that_is_gone_and_comes_back(site: Site, far_host: FarHost) -> None:
    job = run_job(site)
    far_host.stop_sshd()
    try:
        for command in (["ps"], ["stop", job["job_id"]], [*RUN]):
            done = site.run(*command, stdin="x\n", check=False)
            assert done.returncode == 1
            assert "no container engine answers; tried ssh://bigbox (ssh could not" in done.stderr
            assert "Traceback" not in done.stderr
    finally:
        far_host.start_sshd()

    assert on_record(site, dict(job))["status"] == "launched"


def test_an_app_that_is_open_to_the_engines_host_is_not_launched(
    site: Site, far_host: FarHost
) -> None:
    """Past its gateway, at the address of its container, which only that host gets to."""
    site.configure("conduit", app_module=None, app_module_path=None)
    words = ["--set", f"command={VIEWER} --address 0.0.0.0 --port 9000 {{args}}"]
    done = site.run(
        *RUN, *words, "--", "/opt/conduit/share/sample/mesh.json", stdin="x\n", check=False
    )
    site.configure(
        "conduit", app_module="conduit_module", app_module_path="app_modules/conduit_module.py"
    )

    assert done.returncode == 1
    assert "gets to port 9000 of conduit without TLS and password" in done.stderr
    assert docker(far_host, "ps", "--all", "--quiet") == ""


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--set", "mount_cwd=rw"], "works in your current directory"),
        (["--mount", "/var/run:/there"], "/run/docker.sock is the engine's"),
        (["--mount", "/nowhere/to/be/seen:/there"], "/nowhere/to/be/seen"),
    ],
)
def test_what_can_not_be_shown_there(site: Site, words: list[str], complaint: str) -> None:
    done = site.run(*RUN, *words, stdin="x\n", check=False)

    assert done.returncode == 1
    assert complaint in done.stderr
    site.assert_nothing_left()


def test_a_directory_of_that_host_takes_the_place_of_ones_own(site: Site, tmp_path: Path) -> None:
    """Both hosts have their disks in common here, so the engine's is one that the user lacks."""
    there = tmp_path / "there"
    there.mkdir()
    shutil.copy("/etc/hostname", there / "data")
    target = str(site.state.parent)
    mount = ["--mount", f"{there}:{target}:rw", "--set", "mount_cwd=rw"]

    launched = site.run(*RUN, *mount, stdin=f"{PASSWORD}\n")

    assert "does not see" not in launched.stderr
    (job,) = site.run_json("ps", "--json")
    assert job["status"] == "launched"


def test_by_tls_a_job_is_exposed_or_refused(site: Site, far_host: FarHost) -> None:
    kept = dict(site.env)
    tls = {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(far_host.certificates)}
    site.env |= {"DOCKER_HOST": far_host.tls, **tls}
    try:
        refused = site.run(*RUN, stdin="x\n", check=False)
        job = run_job(site, "--bind", far_host.address)
        ask = ["curl", "-sS", "--cacert", site.authority(), "--digest", "-o", "/dev/null"]
        ask += ["-u", f"{job['owner']}:{PASSWORD}", "-w", "%{http_code}", job["url"]]
        got = subprocess.run(ask, capture_output=True, text=True, check=False)
        site.run("rm", "--force", job["job_id"])
    finally:
        site.env.clear()
        site.env |= kept

    assert refused.returncode == 1
    assert "can't be reached from here" in refused.stderr
    assert "--bind ADDRESS" in refused.stderr
    assert job["url"] == f"https://{far_host.address}:{job['port']}/"
    assert (got.stdout, got.stderr) == ("200", "")
    assert far_host.volumes() == []


def test_all_contexts_are_asked_at_once_and_dead_ones_marked(
    site: Site, far_host: FarHost, tmp_path: Path
) -> None:
    job = run_job(site)
    certificates = ",".join(
        f"{name}={far_host.certificates}/{name}.pem" for name in ("ca", "cert", "key")
    )
    kept = dict(site.env)
    site.env["DOCKER_CONFIG"] = str(tmp_path / "docker")
    silent = socket.create_server((far_host.here, 0), backlog=1)  # takes connections, says nothing
    for name, endpoint in {
        "far": f"host={far_host.ssh}",
        "same": f"host={far_host.tls},{certificates}",
        "dead": "host=ssh://nobody@127.0.0.1:9",
        "mute": f"host=tcp://{far_host.here}:{silent.getsockname()[1]}",
    }.items():
        create = ["docker", "context", "create", name, "--docker", endpoint]
        subprocess.run(
            create, env=site.env | {"HOME": str(tmp_path)}, check=True, capture_output=True
        )
    for path in [tmp_path, *tmp_path.rglob("*")]:
        os.chown(path, site.account.pw_uid, site.account.pw_gid)
    try:
        done = site.run("ps", "--all-contexts")
        told = {one["context"]: one for one in site.run_json("ps", "--all-contexts", "--json")}
        same = site.run_json("--context", "same", "ps", "--json")
    finally:
        silent.close()
        site.env.clear()
        site.env |= kept

    assert re.search(rf"^default +{job['job_id']} ", done.stdout, re.MULTILINE)
    assert "jobctl: dead: no container engine answers" in done.stderr
    assert "jobctl: mute: " in done.stderr
    assert [one["job_id"] for one in told["default"]["jobs"]] == [job["job_id"]]
    assert told["far"]["engine_id"] == told["same"]["engine_id"] == job["engine_id"]
    assert told["far"]["jobs"] == told["same"]["jobs"] == []  # told once
    assert told["dead"]["jobs"] == []
    assert "ssh could not connect" in told["dead"]["error"]
    assert [one["status"] for one in same] == ["launched"]


def test_a_tunnel_brings_a_job_here(site: Site) -> None:
    job = run_job(site)
    with site.start("tunnel", job["job_id"]) as tunnel:
        assert tunnel.stdout is not None
        lines = [tunnel.stdout.readline() for _ in range(2)]
        found = re.search(r"https://job-\d+\.localhost:(\d+)/", lines[1])
        assert found, lines
        ask = ["curl", "-sS", "--cacert", site.authority(), "--digest", "-o", "/dev/null"]
        ask += ["-u", f"{job['owner']}:{PASSWORD}", "-w", "%{http_code}"]
        ask += [f"https://localhost:{found[1]}/"]
        got = subprocess.run(ask, capture_output=True, text=True, check=False)
        tunnel.send_signal(signal.SIGINT)
        tunnel.wait(10)

    assert (got.stdout, got.stderr) == ("200", "")
    assert "jobctl tunnel" in site.run("open", job["job_id"]).stdout
