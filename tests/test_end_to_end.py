"""The main job, from the installed command to a verified page and back to nothing."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from jobctl.engines.docker import DockerEngine
from tests.site import Site

pytestmark = pytest.mark.engine


def get(
    url: str,
    site: Site,
    *,
    user: str | None = None,
    password: str = "",
    algorithm: str = "digest",
) -> int:
    """Return the status that a client gets which trusts only this user's authority."""
    context = ssl.create_default_context(cafile=site.authority())
    handlers: list[urllib.request.BaseHandler] = [urllib.request.HTTPSHandler(context=context)]
    if user:
        passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
        passwords.add_password(None, url, user, password)
        handlers.append(
            urllib.request.HTTPDigestAuthHandler(passwords)
            if algorithm == "digest"
            else urllib.request.HTTPBasicAuthHandler(passwords)
        )
    try:
        with urllib.request.build_opener(*handlers).open(url, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def bound(port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(2)
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def conduit(site: Site) -> dict[str, Any]:
    """A verified conduit job with a generated password."""
    job: dict[str, Any] = site.run_json("run", "conduit", "--generate-password", "--json")
    return job


def test_run_is_reachable_and_protected(site: Site, conduit: dict[str, Any]) -> None:
    assert conduit["status"] == "launched"
    assert conduit["job_id"] == f"job_{conduit['port']}"
    url, password = conduit["url"], conduit["password"]
    assert get(url, site) == 401
    assert get(url, site, user=conduit["owner"], password="wrong") == 401
    assert get(url, site, user="somebody", password=password) == 401
    assert get(url, site, user=conduit["owner"], password=password) == 200


def test_curl_line_that_run_prints_works(site: Site) -> None:
    printed = site.run("run", "conduit", "--generate-password").stdout
    password = next(line.split()[1] for line in printed.splitlines() if "password" in line)
    line = next(line for line in printed.splitlines() if "try it" in line).split()[2:]
    # curl asks for the password on the terminal; a configuration on its standard input does too.
    user = line[line.index("--user") + 1]
    done = subprocess.run(
        [
            *line,
            "--silent",
            "--write-out",
            "%{http_code}",
            "--output",
            "/dev/null",
            "--config",
            "-",
        ],
        input=f'user = "{user}:{password}"',
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "200"


def test_other_authorities_and_names_are_refused(site: Site, conduit: dict[str, Any]) -> None:
    port = int(conduit["port"])
    for context, name in (
        (ssl.create_default_context(), "localhost"),
        (ssl.create_default_context(cafile=site.authority()), "example.org"),
    ):
        with (
            socket.create_connection(("127.0.0.1", port)) as plain,
            pytest.raises(ssl.SSLCertVerificationError),
        ):
            context.wrap_socket(plain, server_hostname=name)
    context = ssl.create_default_context(cafile=site.authority())
    for name in ("localhost", "127.0.0.1", f"job-{port}.localhost", socket.gethostname()):
        with socket.create_connection(("127.0.0.1", port)) as plain:
            context.wrap_socket(plain, server_hostname=name).close()


def test_the_record_has_the_documented_keys(site: Site, conduit: dict[str, Any]) -> None:
    line = json.loads((site.directory / "connections.txt").read_text())
    documented = (
        *("job_id", "app", "port", "protocol", "host", "owner", "job_root", "config"),
        *("app_path", "password_hash", "hash_algorithm", "pid", "status"),
        "creation_timestamp",
    )
    assert tuple(line)[:14] == documented
    assert line["password_hash"].startswith(f"{line['owner']}:conduit:")
    command = Path(f"/proc/{line['pid']}/cmdline").read_bytes()
    assert b"conduit_relay" in command
    assert site.run_json("ps", "--json")[0]["password_hash"] == "********"
    assert site.run_json("broker", "-q")[0]["password_hash"] == line["password_hash"]


def test_stop_start_and_rm(site: Site, conduit: dict[str, Any], engine: DockerEngine) -> None:
    job_id, port = conduit["job_id"], int(conduit["port"])
    fingerprint = conduit["tls_fingerprint"]
    assert site.run("stop", job_id).stdout.strip() == job_id
    assert not bound(port)
    assert site.run("ps", "-q").stdout == ""
    assert site.run("ps", "-q", "--all").stdout.strip() == job_id

    site.run("start", str(port))
    again = site.run_json("inspect", job_id, "--json")
    assert (again["status"], again["tls_fingerprint"]) == ("launched", fingerprint)
    status = get(conduit["url"], site, user=conduit["owner"], password=conduit["password"])
    assert status == 200

    refused = site.run("rm", job_id, check=False)
    assert refused.returncode == 1
    assert "rm --force" in refused.stderr
    site.run("rm", "--force", job_id)
    site.assert_nothing_left()
    assert not bound(port)


def test_private_files_and_nothing_secret_in_the_containers(
    site: Site, conduit: dict[str, Any], engine: DockerEngine
) -> None:
    assert site.directory.stat().st_mode & 0o777 == 0o700
    for path in site.directory.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600, path
    secret = json.loads((site.directory / "connections.txt").read_text())["password_hash"]
    key = (site.directory / f"{conduit['job_id']}.key").read_text().splitlines()[1]
    shown = subprocess.run(
        ["docker", "inspect", *conduit["container_ids"]], capture_output=True, text=True, check=True
    ).stdout
    logs = site.run("logs", conduit["job_id"]).stdout
    logs += site.run("logs", conduit["job_id"], "--gateway").stdout
    processes = b"".join(
        path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()
    ).decode(errors="replace")
    for place in (shown, logs, processes, json.dumps(conduit | {"password": ""})):
        for value in (secret, secret.rpartition(":")[2], conduit["password"], key):
            assert value not in place


def test_containers_are_locked_down(
    site: Site, conduit: dict[str, Any], engine: DockerEngine
) -> None:
    inspected = json.loads(
        subprocess.run(
            ["docker", "inspect", *conduit["container_ids"]], capture_output=True, check=True
        ).stdout
    )
    for container in inspected:
        host = container["HostConfig"]
        assert host["CapDrop"] == ["ALL"]
        assert not host["CapAdd"]
        assert not host["Privileged"]
        assert "no-new-privileges:true" in host["SecurityOpt"]
        assert host["ReadonlyRootfs"]
        assert host["Init"]
        assert 0 < host["PidsLimit"] <= 512
        assert host["Memory"] > 0
        assert host["CpuQuota"] > 0
        assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 5}
        assert host["LogConfig"]["Config"]["max-size"]
        assert container["Config"]["User"].partition(":")[0] not in ("", "0", "root")
        assert not any("docker.sock" in mount["Source"] for mount in container["Mounts"])
    gateway, app = inspected
    secrets = {".key", ".crt", "_htpasswd"}
    mounted = {mount["Source"] for mount in app["Mounts"]}
    assert not any(source.endswith(tuple(secrets)) for source in mounted)
    mounts = gateway["Mounts"] + app["Mounts"]
    assert all(not mount["RW"] for mount in mounts if mount["Type"] == "bind")
    volumes = [mount["Destination"] for mount in mounts if mount["Type"] != "bind"]
    assert volumes == ["/var/spool/lighttpd"]
    assert gateway["HostConfig"]["PortBindings"]["8443/tcp"][0]["HostIp"] == "127.0.0.1"
    assert not app["HostConfig"]["PortBindings"]
    for container in conduit["container_ids"]:
        condition = engine.condition(container)
        assert condition is not None
        status = Path(f"/proc/{condition.pid}/status").read_text()
        assert "CapEff:\t0000000000000000" in status
        assert "NoNewPrivs:\t1" in status
        assert "Seccomp:\t2" in status


def test_data_of_the_working_directory_without_the_state_directory(site: Site) -> None:
    """The state directory lies below the directory that is mounted, and must not show through."""
    project = site.state.parent
    (project / "data").mkdir()
    (project / "data" / "mine.json").write_text('{"answer": 42}')
    for path in (project, project / "data"):
        path.chmod(0o755)
    (project / "data" / "mine.json").chmod(0o644)
    job = site.run_json(
        "run", "conduit", "--generate-password", "--json", "--", "data/mine.json", cwd=project
    )
    app = job["container_ids"][1]

    def inside(*command: str) -> str:
        # As root, who may read what its own files' modes keep from the app.
        return subprocess.run(
            ["docker", "exec", "--user", "0", app, *command],
            capture_output=True,
            text=True,
            check=False,
        ).stdout

    assert inside("cat", str(project / "data/mine.json")) == '{"answer": 42}'
    assert (site.directory / "connections.txt").exists()
    assert inside("find", str(site.state), "-type", "f") == ""
    assert inside("sh", "-c", f"echo x > {project}/data/new || echo refused") == "refused\n"


def test_bcrypt_from_standard_input(site: Site) -> None:
    site.configure("conduit", hash_algorithm="bcrypt")
    password = "grüße: an alle"
    job = site.run_json("run", "conduit", "--password-stdin", "--json", stdin=f"{password}\n")
    assert "password" not in job
    user = job["owner"]
    assert get(job["url"], site, user=user, password="falsch", algorithm="basic") == 401
    reached = subprocess.run(
        [
            *("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--basic", "--config", "-"),
            *("--cacert", site.authority(), job["url"]),
        ],
        input=f'user = "{user}:{password}"',
        capture_output=True,
        text=True,
        check=True,
    )
    assert reached.stdout == "200"
    site.run("stop", job["job_id"])
    site.run("start", job["job_id"])  # without the password at hand
    assert get(job["url"], site) == 401


def test_a_port_held_by_a_container_is_skipped(site: Site, engine: DockerEngine) -> None:
    """The engine's own answer decides: the stranger binds another address than the job."""
    low, _ = site.ports
    stranger = subprocess.run(
        ["docker", "run", "-d", "--rm", "-p", f"127.0.0.1:{low}:1", "jobctl/base", "sleep", "60"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    try:
        job = site.run_json("run", "conduit", "--generate-password", "--json")
        assert int(job["port"]) > low
        asked = site.run("run", "conduit", "--generate-password", "--port", str(low), check=False)
        assert asked.returncode == 1
        assert f"port {low} is taken by the container" in asked.stderr
    finally:
        engine.remove(stranger)


def test_attach_follows_the_log_and_stops_the_job(site: Site) -> None:
    with site.start("run", "conduit", "--generate-password", "--attach") as process:
        assert process.stdout is not None
        assert "verified" in process.stdout.readline()
        assert any("serving" in line for line in process.stdout)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    jobs = site.run_json("ps", "--all", "--json")
    assert [job["status"] for job in jobs] == ["stopped"]


def test_lost_records_are_rebuilt_from_labels(site: Site, conduit: dict[str, Any]) -> None:
    path = site.directory / "connections.txt"
    before = json.loads(path.read_text())
    path.unlink()
    after = site.run_json("broker", "-q")[0]
    # The process id is not on the labels; everything else is found again.
    assert after | {"pid": None} == before | {"pid": None}


def test_containers_removed_behind_our_back(
    site: Site, conduit: dict[str, Any], engine: DockerEngine
) -> None:
    for container in conduit["container_ids"]:
        engine.remove(container)
    assert site.run("ps", "-q").stdout == ""
    assert site.run_json("ps", "--all", "--json")[0]["status"] == "lost"
    site.run("prune")
    site.assert_nothing_left()


def test_crashed_app_is_restarted_and_served_again(site: Site, conduit: dict[str, Any]) -> None:
    os.kill(conduit["pid"], signal.SIGKILL)
    deadline = time.monotonic() + 15
    status = 0
    while status != 200 and time.monotonic() < deadline:
        with suppress(OSError):
            status = get(conduit["url"], site, user=conduit["owner"], password=conduit["password"])
        time.sleep(0.2)
    assert status == 200
    now = site.run_json("inspect", conduit["job_id"], "--json")
    assert (now["status"], now["restarts"]) == ("launched", 1)
    assert Path(f"/proc/{now['pid']}").exists()


def test_broker_registers_and_start_launches(site: Site) -> None:
    job = site.run_json("broker", "-r", "-a", "conduit", "-p", "-", stdin=f"{'0' * 32}\n")
    assert job["status"] == "registered"
    assert job["password_hash"] == f"{job['owner']}:conduit:{'0' * 32}"
    assert not bound(int(job["port"]))
    another = site.run_json("run", "conduit", "--generate-password", "--json")
    assert another["port"] != job["port"]
    updated = site.run_json(
        "broker", "-u", json.dumps({"job_id": job["job_id"], "colour": "green", "restarts": 3})
    )
    assert (updated["colour"], updated["restarts"]) == ("green", 3)
    site.run("start", job["job_id"])
    assert get(job["url"], site) == 401
    shown = site.run_json("inspect", job["job_id"], "--json")
    assert (shown["status"], shown["colour"]) == ("launched", "green")


def test_a_job_of_another_engine_is_not_touched(site: Site, conduit: dict[str, Any]) -> None:
    """As where hosts with an engine each share a home directory."""
    job_id = conduit["job_id"]
    there = {"job_id": job_id, "engine_id": "other-pc:/var/lib/docker", "host": "other-pc"}
    site.run("broker", "-u", json.dumps(there))

    for command in ("stop", "start"):
        refused = site.run(command, job_id, check=False)
        assert refused.returncode == 1
        assert "on another engine, other-pc:/var/lib/docker" in refused.stderr
    assert f"{job_id}  conduit  launched (on other-pc)" in site.run("ps").stdout
    assert get(conduit["url"], site, user=conduit["owner"], password=conduit["password"]) == 200
