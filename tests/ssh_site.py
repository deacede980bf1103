"""A host that its users reach by ssh alone: a real ``sshd`` on loopback with keys of its own."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from jobctl.engines.base import Engine
from tests.rootless import account
from tests.site import WORKER, Site, let_others_pass, next_ports
from tests.waiting import eventually

# Its clients are on the same machine: with a job at another address of loopback, their own
# 127.0.0.1 is free as it would be elsewhere.
ADDRESS = "127.0.0.2"
PASSPHRASE = "correct horse"
SSHD = "/usr/sbin/sshd"  # which insists on being called by its full path


@dataclass
class SshHost:
    """The host's jobctl and its sshd, and what a client needs to log in."""

    site: Site
    directory: Path
    port: int = 0
    process: subprocess.Popen[bytes] | None = None
    options: list[str] = field(default_factory=list)
    """For the client, as ``ssh -o`` takes them."""

    def __post_init__(self) -> None:
        self.directory.mkdir()
        for name in ("host", "user", "narrow", "locked"):
            words = ["-q", "-t", "ed25519", "-N", PASSPHRASE if name == "locked" else ""]
            key = self.directory / f"{name}-key"
            subprocess.run(["ssh-keygen", *words, "-f", key], check=True)
        plain, narrow, locked = (
            (self.directory / f"{name}-key.pub").read_text()
            for name in ("user", "narrow", "locked")
        )
        keys = f"{plain}no-port-forwarding {narrow}{locked}"
        (self.directory / "authorized_keys").write_text(keys)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        known = (self.directory / "host-key.pub").read_text()
        (self.directory / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {known}")
        path = f"{self.site.command.parent}:{self.site.env['PATH']}"
        values = {**self.site.env, "PATH": path}.items()
        environment = " ".join(f'"{name}={value}"' for name, value in values)
        (self.directory / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.directory}/host-key\n"
            f"AuthorizedKeysFile {self.directory}/authorized_keys\nPasswordAuthentication no\n"
            "KbdInteractiveAuthentication no\nUsePAM no\nPidFile none\nStrictModes no\n"
            f"SetEnv {environment}\n"
        )
        self.options = self.login_by("user")
        for path_ in (self.directory, *self.directory.iterdir()):
            os.chown(path_, self.site.account.pw_uid, self.site.account.pw_gid)

    def login_by(self, key: str) -> list[str]:
        """Return a client's options to log in with one of the keys.

        With ``narrow`` sshd forwards nothing; ``locked`` has a passphrase.
        """
        return [
            f"Port={self.port}",
            f"IdentityFile={self.directory}/{key}-key",
            "IdentitiesOnly=yes",
            f"UserKnownHostsFile={self.directory}/known_hosts",
        ]

    @property
    def name(self) -> str:
        return f"{self.site.account.pw_name}@127.0.0.1"

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text()

    def start(self) -> None:
        """Start sshd and wait until it answers."""
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [SSHD, "-D", "-e", "-f", self.directory / "sshd_config"],
                stderr=log,
                stdin=subprocess.DEVNULL,
                **self.site.identity,
            )
        assert eventually(self._answers), self.log

    def _answers(self) -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        """End sshd, and the connections that it has."""
        assert self.process is not None
        listener = psutil.Process(self.process.pid)
        for one in (listener, *listener.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                one.kill()
        self.process.wait()

    def ssh(self, command: str, *words: str) -> list[str]:
        """Return what runs a command there as its user would."""
        options = [word for option in self.options for word in ("-o", option)]
        return ["ssh", *options, *words, self.name, command]

    def tunnel(self, *words: str) -> Sequence[str]:
        """Return the arguments of ``jobctl tunnel`` from a client."""
        options = [word for option in self.options for word in ("-o", option)]
        return ("tunnel", *options, self.name, *words)

    def status(self, url: str, job: dict[str, Any], password: str | None) -> str:
        """Return what curl gets, which trusts the authority of this host's user alone."""
        login = ["--digest", "--user", f"{job['owner']}:{password}"] if password else []
        command = ["curl", "-sS", "--cacert", self.site.authority(), *login, "-o", "/dev/null"]
        command += ["-w", "%{http_code}", url]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def clients(self) -> list[list[str]]:
        """Return the command lines of all that is connected, or is about to."""
        lines = [one.info["cmdline"] or [] for one in psutil.process_iter(["cmdline"])]
        mark = f"Port={self.port}"
        return [line for line in lines if mark in line and line[0] == "ssh"]


@contextmanager
def running(command: Path, engine: Engine, directory: Path) -> Iterator[SshHost]:
    """Run a host as an ordinary user, whom the test makes if it is run by root."""
    let_others_pass(directory)
    with ExitStack() as undo:
        ports = next_ports()
        if os.getuid() == 0:
            user = undo.enter_context(account(f"jobctl-ssh{WORKER}", directory / "home"))
            site = Site(command, directory / "site", engine, ports, user)
        else:
            site = Site(command, directory / "site", engine, ports)
        undo.callback(site.clear)
        host = SshHost(site, directory / "ssh")
        host.start()
        undo.callback(host.stop)
        yield host


@pytest.fixture(scope="module")
def ssh_host(
    installed_for_all: Path, engine: Engine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SshHost]:
    """Return a host that is reached by ssh."""
    with running(installed_for_all, engine, tmp_path_factory.mktemp("ssh-host")) as found:
        yield found


@pytest.fixture(scope="module")
def distant_job(ssh_host: SshHost) -> dict[str, Any]:
    """Return a verified job of that host, with its password."""
    words = ("run", "conduit", "--generate-password", "--bind", ADDRESS, "--json")
    found: dict[str, Any] = ssh_host.site.run_json(*words)
    return found
