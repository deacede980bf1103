"""``jobctl open``: a browser where there is one, else the way from the machine of the user."""

from __future__ import annotations

import re
import shlex
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from jobctl import hosts
from jobctl.browsers import obstacle, open_page
from jobctl.job import Job
from jobctl.reach import route
from tests.ssh_site import ADDRESS, SshHost
from tests.waiting import eventually

USER = 1000
DISPLAY = {"DISPLAY": ":9"}


def script(directory: Path, name: str, *, code: int = 0) -> Path:
    """Make a browser that writes down what it is asked to open."""
    path = directory / name
    path.write_text(f'#!/bin/sh\necho "$@" >> {directory}/{name}.opened\nexit {code}\n')
    path.chmod(0o755)
    return path


def opened(directory: Path, name: str = "browser") -> str:
    """Return what that browser was asked to open."""
    path = directory / f"{name}.opened"
    return path.read_text().strip() if path.exists() else ""


# Which browser


def test_the_user_s_choice_comes_first(tmp_path: Path) -> None:
    first, second = script(tmp_path, "first", code=1), script(tmp_path, "second")
    environ = {**DISPLAY, "BROWSER": f"'{tmp_path}/missing:{first}:{second} --new %s"}
    assert open_page("https://a/", environ, uid=USER) is None
    assert opened(tmp_path, "first") == "https://a/"
    assert opened(tmp_path, "second") == "--new https://a/"


def test_one_that_goes_on_counts_as_open(tmp_path: Path) -> None:
    path = tmp_path / "browser"
    path.write_text(f"#!/bin/sh\nsleep 3; echo late > {tmp_path}/browser.opened\n")
    path.chmod(0o755)
    began = time.monotonic()
    assert open_page("https://a/", {**DISPLAY, "BROWSER": str(path)}, uid=USER) is None
    assert time.monotonic() - began < 2.5
    assert opened(tmp_path) == ""
    assert eventually(lambda: opened(tmp_path)) == "late"


def test_the_desktop_s_comes_next_and_one_in_the_terminal_never(tmp_path: Path) -> None:
    text = script(tmp_path, "w3m")
    environ = {**DISPLAY, "BROWSER": str(text), "PATH": f"{tmp_path}:/nowhere"}
    assert open_page("https://a/", environ, uid=USER) == "there is no browser that starts"
    script(tmp_path, "www-browser")
    assert open_page("https://a/", environ, uid=USER) == "there is no browser that starts"
    script(tmp_path, "xdg-open")
    (tmp_path / "sh").symlink_to("/bin/sh")
    assert open_page("https://a/", environ, uid=USER) is None
    assert opened(tmp_path, "xdg-open") == "https://a/"
    assert opened(tmp_path, "w3m") == opened(tmp_path, "www-browser") == ""


@pytest.mark.parametrize(
    ("environ", "uid", "reason"),
    [
        (DISPLAY, USER, None),
        ({"WAYLAND_DISPLAY": "wayland-0", "SSH_CONNECTION": "a 1 b 22"}, USER, None),
        ({**DISPLAY, "BROWSER": "firefox"}, 0, "not opened as root"),
        ({}, USER, "there is no display"),
        ({"BROWSER": "to-the-desktop"}, USER, None),
        ({"SSH_CONNECTION": "a 1 b 22", "BROWSER": "firefox"}, USER, "session of another machine"),
    ],
)
def test_when_there_is_one(environ: dict[str, str], uid: int, reason: str | None) -> None:
    found = obstacle(environ, uid=uid)
    assert (found is None) if reason is None else (reason in str(found))


# Which way


def job_at(bind_address: str, **more: Any) -> Job:
    return Job(
        **{
            **{"job_id": "job_8000", "app": "a", "port": "8000", "protocol": "https"},
            **{"host": hosts.name(), "owner": "alice", "job_root": "/a/", "status": "launched"},
            **{"creation_timestamp": 1, "bind_address": bind_address},
            **more,
        }
    )


@pytest.mark.parametrize(
    ("bind_address", "target"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.2", "127.0.0.2"),
        ("::1", "'8000:[::1]:8000'"),
        ("0.0.0.0", "127.0.0.1"),
        ("::", "'8000:[::1]:8000'"),
        ("192.0.2.7", "192.0.2.7"),
    ],
)
def test_what_is_forwarded(bind_address: str, target: str) -> None:
    way = route(job_at(bind_address, host="host.example", open_url="https://h:8000/"), {})
    words = target if target.startswith("'") else f"8000:{target}:8000"
    assert way.ssh == f"ssh -N -L {words} alice@host.example"
    assert way.tunnel == "jobctl tunnel alice@host.example job_8000"
    assert way.url == "https://job-8000.localhost:8000/"
    loopback = bind_address.startswith("127.") or bind_address == "::1"
    assert way.direct == (None if loopback else "https://h:8000/")


def test_what_the_host_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    # A name that is this host's own alone, as where /etc/hosts has 127.0.1.1 for it.
    monkeypatch.setattr(hosts, "names", lambda: ("pc.invalid", "localhost"))
    job = job_at("127.0.0.1")
    assert route(job, {}).ssh.endswith(f" alice@{hosts.name()}")
    by_ssh = route(job, {"SSH_CONNECTION": "192.0.2.1 50000 192.0.2.7 22"})
    assert by_ssh.ssh.endswith(":8000 alice@192.0.2.7")
    other_port = route(job, {"SSH_CONNECTION": "2001:db8::1 50000 2001:db8::7 2222"})
    assert other_port.ssh.endswith(" -p 2222 alice@2001:db8::7")
    assert other_port.tunnel == "jobctl tunnel -o Port=2222 alice@2001:db8::7 job_8000"
    assert route(job, {"SSH_CONNECTION": "nonsense"}).ssh.endswith(f" alice@{hosts.name()}")


# The command, over a real ssh


def over_ssh(host: SshHost, command: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        host.ssh(command), capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    assert "Traceback" not in done.stderr
    return done


@pytest.mark.engine
def test_without_a_display_it_prints_a_line_that_works(
    ssh_host: SshHost, distant_job: dict[str, Any], tmp_path: Path
) -> None:
    browser = script(tmp_path, "browser")
    done = over_ssh(ssh_host, f"BROWSER={browser} jobctl open {distant_job['job_id']}")
    assert done.returncode == 0
    assert "no browser is opened: this is a session of another machine" in done.stderr
    assert opened(tmp_path) == ""
    port = distant_job["port"]
    found = re.search(r"type there +(ssh .*)\n +and open there +(\S+)\n", done.stdout)
    assert found
    line, url = shlex.split(found[1]), found[2]
    assert url == f"https://job-{port}.localhost:{port}/"
    assert line[:4] == ["ssh", "-N", "-L", f"{port}:{ADDRESS}:{port}"]
    # What the user's own configuration would say, and whichever name the host goes by here.
    known = [f"HostKeyAlias=[127.0.0.1]:{ssh_host.port}", "HostName=127.0.0.1"]
    options = [word for one in (*ssh_host.options, *known) for word in ("-o", one)]
    assert line[4:6] == ["-p", str(ssh_host.port)]
    with ExitStack() as undo:
        forwarding = undo.enter_context(subprocess.Popen([line[0], *options, *line[1:]]))
        undo.callback(forwarding.terminate)
        curl = ["curl", "-sko", "/dev/null", url]
        assert eventually(lambda: subprocess.run(curl, check=False).returncode == 0)
        assert ssh_host.status(url, distant_job, "wrong") == "401"
        assert ssh_host.status(url, distant_job, distant_job["password"]) == "200"


@pytest.mark.engine
def test_with_a_display_it_opens(
    ssh_host: SshHost, distant_job: dict[str, Any], tmp_path: Path
) -> None:
    tmp_path.chmod(0o777)
    for directory in list(tmp_path.parents)[:2]:
        directory.chmod(0o755)
    browser = script(tmp_path, "browser")
    job_id, url = distant_job["job_id"], distant_job["open_url"]
    done = over_ssh(ssh_host, f"DISPLAY=:9 BROWSER={browser} jobctl open {job_id}")
    assert done.stdout == f"{url}\n"
    assert opened(tmp_path) == url

    done = over_ssh(ssh_host, f"DISPLAY=:9 BROWSER={browser} jobctl open --print {job_id}")
    assert "type there" in done.stdout
    assert done.stderr == ""
    assert opened(tmp_path) == url


@pytest.mark.engine
def test_a_job_that_does_not_run(ssh_host: SshHost) -> None:
    job = ssh_host.site.run_json("run", "conduit", "--generate-password", "--json")
    ssh_host.site.run("stop", job["job_id"])
    done = ssh_host.site.run("open", job["job_id"], check=False)
    assert done.returncode == 1
    assert f"start it with: jobctl start {job['job_id']}" in done.stderr
