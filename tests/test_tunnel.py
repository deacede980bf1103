"""``jobctl tunnel``: a job of another host, through a real sshd, from the client's side."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest
from playwright.sync_api import expect

from jobctl import tunnel
from jobctl.errors import JobctlError
from jobctl.remote import Wish
from jobctl.ssh import Destination
from tests.browser import SLOW_MS, browsing, status
from tests.site import Site
from tests.ssh_site import PASSPHRASE, SshHost
from tests.waiting import eventually

pytestmark = pytest.mark.engine

READY_S = 20


class Client:
    """A running ``jobctl tunnel``, and what it has said."""

    def __init__(self, process: subprocess.Popen[str], directory: Path) -> None:
        self.process = process
        self._output = directory / "output"

    def said(self) -> str:
        return self._output.read_text()

    def says(self, text: str) -> bool:
        """Wait until it has said something, or has ended."""
        eventually(lambda: text in self.said() or self.process.poll() is not None, timeout=READY_S)
        return text in self.said()

    def url(self) -> str:
        """Wait until the job is here, and return where."""
        assert self.says("Ctrl-C closes it"), self.said()
        found = re.search(r"URL +(\S+)", self.said())
        assert found
        return found[1]

    def interrupt(self) -> int:
        """Press Ctrl-C and return the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(10)


Start = Callable[..., Client]


@pytest.fixture
def client(ssh_host: SshHost, tmp_path: Path) -> Iterator[Start]:
    """Return what runs ``jobctl tunnel`` on a machine with neither engine nor configuration."""
    started: list[subprocess.Popen[str]] = []
    env = {"PATH": ssh_host.site.env["PATH"], "HOME": str(tmp_path / "nowhere")}
    env |= {"DOCKER_HOST": "unix:///nowhere.sock", "JOBCTL_CONFIG": "/nowhere.yaml"}

    def start(*words: str) -> Client:
        with (tmp_path / "output").open("w") as output:
            process = subprocess.Popen(
                [ssh_host.site.command, *ssh_host.tunnel(*words)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                env=env,
                **ssh_host.site.identity,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        started.append(process)
        return Client(process, tmp_path)

    yield start
    for process in started:
        process.terminate()
        process.wait()
    assert eventually(lambda: ssh_host.clients() == []), "an ssh is left"


def test_job_is_here_with_its_name_its_certificate_and_its_password(
    ssh_host: SshHost, distant_job: dict[str, Any], client: Start
) -> None:
    before = ssh_host.log.count("Accepted publickey")
    here = client(distant_job["job_id"])
    url = here.url()

    assert url == f"https://job-{distant_job['port']}.localhost:{distant_job['port']}/"
    assert re.search(rf"user +{distant_job['owner']}\n", here.said())
    assert ssh_host.status(url, distant_job, None) == "401"
    assert ssh_host.status(url, distant_job, "wrong") == "401"
    assert ssh_host.status(url, distant_job, distant_job["password"]) == "200"
    assert ssh_host.log.count("Accepted publickey") == before + 1
    assert here.interrupt() == 0
    assert here.says("the tunnel is closed")
    assert ssh_host.clients() == []


def test_the_line_about_trust_gets_the_authority(
    ssh_host: SshHost, distant_job: dict[str, Any], client: Start
) -> None:
    here = client(distant_job["port"])
    here.url()
    found = re.search(r"trust +(ssh .*) > jobctl-127\.0\.0\.1\.crt", here.said())
    assert found
    got = subprocess.run(["sh", "-c", found[1]], capture_output=True, check=True).stdout
    assert got == Path(ssh_host.site.authority()).read_bytes()


def test_connection_that_ends_comes_back(
    ssh_host: SshHost, distant_job: dict[str, Any], client: Start
) -> None:
    here = client(distant_job["job_id"])
    url = here.url()
    ssh_host.stop()
    try:
        assert here.says("ended; trying again in 1 s")
    finally:
        ssh_host.start()
    assert here.says("connected again"), here.said()
    assert ssh_host.status(url, distant_job, distant_job["password"]) == "200"
    assert here.interrupt() == 0


def test_job_that_stops_ends_it(
    ssh_host: SshHost, distant_job: dict[str, Any], client: Start
) -> None:
    here = client(distant_job["job_id"])
    here.url()
    ssh_host.site.run("stop", distant_job["job_id"])
    try:
        assert here.process.wait(READY_S) == 1
        assert (
            f"{distant_job['job_id']} on 127.0.0.1 is stopped; start it there: ssh " in here.said()
        )
        assert "open failed" not in here.said()
    finally:
        ssh_host.site.run("start", distant_job["job_id"])


def test_local_port_that_is_taken(
    ssh_host: SshHost, distant_job: dict[str, Any], client: Start
) -> None:
    with socket.create_server(("127.0.0.1", int(distant_job["port"]))):
        here = client(distant_job["job_id"])
        url = here.url()
        assert url != distant_job["open_url"]
        assert url.startswith(f"https://job-{distant_job['port']}.localhost:")
        assert "the name is the same, and so the certificate fits" in here.said()
        assert ssh_host.status(url, distant_job, distant_job["password"]) == "200"
        assert here.interrupt() == 0

        refused = client(distant_job["job_id"], "--local-port", distant_job["port"])
        assert refused.process.wait(READY_S) == 1
        assert f"port {distant_job['port']} is taken on this machine" in refused.said()


def test_something_else_that_answers_is_refused(
    ssh_host: SshHost, distant_job: dict[str, Any], client: Start
) -> None:
    other = ssh_host.site.run_json("run", "conduit", "--generate-password", "--json")
    assert other["tls_fingerprint"] != distant_job["tls_fingerprint"]
    # As if another had taken its port: the host tells of the one, at the port is the other.
    swap = f"sed s/{distant_job['tls_fingerprint']}/{other['tls_fingerprint']}/"
    here = client(distant_job["job_id"], "--remote-command", f'f() {{ jobctl "$@" | {swap}; }}; f')
    assert here.process.wait(READY_S) == 1
    assert (
        f"is not {distant_job['job_id']}: its certificate is {distant_job['tls_fingerprint']}"
        in here.said()
    )
    assert "URL" not in here.said()


def test_what_a_newer_jobctl_and_a_talkative_shell_say(
    ssh_host: SshHost, distant_job: dict[str, Any], client: Start
) -> None:
    ssh_host.site.run(
        "broker", "-u", json.dumps({"job_id": distant_job["job_id"], "novelty": {"a": 1}})
    )
    here = client(distant_job["job_id"], "--remote-command", "echo Welcome; jobctl")
    here.url()


# A record in which the owner's name rings the bell.
BELL = """f() {{ jobctl "$@" | sed 's/"owner": "/&\\\\u0007/'; }}; f"""


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("job_1",), 1, "127.0.0.1: there is no job_1; your jobs are: job_"),
        (("{job}", "--remote-command", "/nowhere/jobctl"), 1, 'has no "/nowhere/jobctl"'),
        (("{job}", "--remote-command", "true"), 1, "makes no sense"),
        (("{job}", "--remote-command", "echo '[1]' #"), 1, "makes no sense"),
        (("{job}", "--remote-command", "head -c 9999999 /dev/zero #"), 1, "ended with -9"),
        (("{job}", "--remote-command", "jobctl ps --json #"), 1, "makes no sense"),
        (
            ("job_9", "--remote-command", "jobctl inspect {job} --json #"),
            1,
            "was asked for job_9 and tells of job_",
        ),
        (
            ("{job}", "--remote-command", BELL),
            1,
            "control characters",
        ),
        (("{job}", "-o", "HostKeyAlias=unknown", "-o", "BatchMode=yes"), 1, "verification failed"),
        (("8000; touch x",), 1, "is not a job"),
        (("{job}", "-o", "-oProxyCommand=x"), 2, "is no option of ssh"),
    ],
)
def test_what_can_not_be(
    distant_job: dict[str, Any], client: Start, words: tuple[str, ...], code: int, says: str
) -> None:
    here = client(*(word.format(job=distant_job["job_id"]) for word in words))
    assert here.process.wait(READY_S) == code
    assert says in here.said()
    assert "Traceback" not in here.said()


@pytest.mark.parametrize(
    "name",
    [
        *("-oProxyCommand=touch x", "alice@-oProxyCommand=x", "-oProxyCommand=x@host", "a b", ""),
        *("host;x", "$(x)", "alice@host/x", "host\n-o", "@host", "alice@"),
    ],
)
def test_names_that_ssh_or_a_shell_could_take_for_something_else(name: str, site: Site) -> None:
    done = site.run("tunnel", "--", name, "8000", check=False)
    assert done.returncode == 2
    assert "is not a host" in done.stderr


def test_host_that_forwards_nothing(
    ssh_host: SshHost, distant_job: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tunnel, "READY_S", 1)
    destination = Destination.of(ssh_host.name, ssh_host.login_by("narrow"))
    wish = Wish(destination=destination, ref=distant_job["job_id"])
    with (
        pytest.raises(JobctlError, match="allows forwarding"),
        tunnel.opened(wish, pytest.fail),
    ):
        pytest.fail("it is open")
    assert ssh_host.clients() == []


def test_at_a_terminal_ssh_asks_once_and_ctrl_c_ends_both(
    ssh_host: SshHost, distant_job: dict[str, Any], tmp_path: Path
) -> None:
    options = [word for one in ssh_host.login_by("locked") for word in ("-o", one)]
    terminal = pexpect.spawn(
        str(ssh_host.site.command),
        ["tunnel", *options, ssh_host.name, distant_job["job_id"]],
        env={"PATH": ssh_host.site.env["PATH"], "HOME": str(tmp_path), "TERM": "dumb"},
        encoding="utf-8",
        timeout=READY_S,
    )
    terminal.expect("passphrase for key .*: ")
    terminal.sendline(PASSPHRASE)
    assert terminal.expect(["Ctrl-C closes it", "passphrase"]) == 0
    terminal.sendintr()
    terminal.expect("the tunnel is closed")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0
    assert ssh_host.clients() == []


@pytest.mark.browser
def test_browser_at_the_client_s_end(
    ssh_host: SshHost, distant_job: dict[str, Any], client: Start, tmp_path: Path
) -> None:
    home, site = tmp_path / "home", ssh_host.site
    database = home / ".pki" / "nssdb"
    database.mkdir(parents=True)
    subprocess.run(["certutil", "-N", "-d", f"sql:{database}", "--empty-password"], check=True)
    exported = subprocess.run(ssh_host.ssh("jobctl ca export -"), capture_output=True, check=True)
    (tmp_path / "ca.crt").write_bytes(exported.stdout)
    trust: list[str | Path] = [site.command, "ca", "trust", tmp_path / "ca.crt"]
    subprocess.run(trust, env={**site.env, "HOME": str(home)}, check=True)
    with socket.create_server(("127.0.0.1", int(distant_job["port"]))):
        url = client(distant_job["job_id"]).url()
    with browsing(site, home=home) as browse:
        page = browse(distant_job["owner"], distant_job["password"])
        assert status(page, url) == 200
        # A WebSocket that passes the tunnel and the gateway.
        live = page.locator("[data-testid=live-status]")
        expect(live).to_have_attribute("data-status", "live", timeout=SLOW_MS)
