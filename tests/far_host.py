"""A machine of its own as far as the network goes: an engine and an sshd, at an address.

Its ports and its engine's containers are in a network namespace; paths it has in common with this
one, which is why tests look at what the engine was asked to show. Its users are this host's.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from jobctl.engines.docker import DockerEngine
from tests.engine_host import EngineHost, Unavailable
from tests.rootless import account
from tests.site import WORKER, Site, let_others_pass, next_ports
from tests.ssh_site import SSHD
from tests.waiting import eventually

SSH_PORT, TLS_PORT = 2222, 2376
ALIAS = "bigbox"
WORD_ENDED_S = 10


class FarHost(EngineHost):
    """The machine; ``site`` is a place to run jobctl at, on this one, for one of its users."""

    def __init__(self, directory: Path, user: pwd.struct_passwd) -> None:
        super().__init__(directory)
        self.user = user
        self.network = f"jobctl-far{WORKER}"
        self.here, self.address = (f"10.83.{WORKER}.{n}" for n in (1, 2))
        self.enter = ["nsenter", f"--net=/run/netns/{self.network}"]
        self.certificates = directory / "tls"
        self.sshd: subprocess.Popen[bytes] | None = None
        self.listen = [
            *("--host", f"tcp://{self.address}:{TLS_PORT}", "--tlsverify"),
            *("--tlscacert", f"{self.certificates}/ca.pem"),
            *("--tlscert", f"{self.certificates}/server.pem"),
            *("--tlskey", f"{self.certificates}/server-key.pem"),
        ]

    @property
    def ssh(self) -> str:
        return f"ssh://{ALIAS}"

    @property
    def tls(self) -> str:
        return f"tcp://{self.address}:{TLS_PORT}"

    def set_up(self) -> None:
        """Make the network, the certificates and the keys, and start engine and sshd."""
        _make_network(self.network, here=self.here, there=self.address)
        _certify(self.certificates, self.address)
        for name in ("ca.pem", "cert.pem", "key.pem"):
            os.chown(self.certificates / name, self.user.pw_uid, self.user.pw_gid)
        self.start()
        self._prepare_ssh()
        self.start_sshd()

    def _prepare_ssh(self) -> None:
        keys, home = self.directory / "ssh", Path(self.user.pw_dir, ".ssh")
        for made in (keys, home):
            made.mkdir(mode=0o700)
        for key in (keys / "host-key", home / "key"):
            command: list[str | Path] = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key]
            subprocess.run(command, check=True)
        public = (keys / "host-key.pub").read_text()
        (home / "known_hosts").write_text(f"[{self.address}]:{SSH_PORT} {public}")
        (home / "config").write_text(
            f"Host {ALIAS}\n  HostName {self.address}\n  Port {SSH_PORT}\n"
            f"  User {self.user.pw_name}\n  IdentityFile {home}/key\n"
            f"  UserKnownHostsFile {home}/known_hosts\n"
        )
        (keys / "sshd_config").write_text(
            f"Port {SSH_PORT}\nListenAddress {self.address}\nHostKey {keys}/host-key\n"
            f"AuthorizedKeysFile {home}/key.pub\nPasswordAuthentication no\n"
            "KbdInteractiveAuthentication no\nUsePAM no\nPidFile none\nStrictModes no\n"
            f"SetEnv DOCKER_HOST={self.endpoint} PATH={os.environ['PATH']}\n"
        )
        for directory in (keys, home):
            for path in (directory, *directory.iterdir()):
                os.chown(path, self.user.pw_uid, self.user.pw_gid)

    def start_sshd(self) -> None:
        """Start the sshd as the user, with access to the engine's socket."""
        group = Path(self.endpoint.removeprefix("unix://")).stat().st_gid
        who = [f"--reuid={self.user.pw_uid}", f"--regid={self.user.pw_gid}", f"--groups={group}"]
        with (self.directory / "sshd.log").open("ab") as log:
            self.sshd = subprocess.Popen(
                [
                    *self.enter,
                    "setpriv",
                    *who,
                    SSHD,
                    "-D",
                    "-e",
                    "-f",
                    f"{self.directory}/ssh/sshd_config",
                ],
                stdin=subprocess.DEVNULL,
                stderr=log,
            )
        assert eventually(self._ssh_answers), (self.directory / "sshd.log").read_text()

    def _ssh_answers(self) -> bool:
        look = ["ssh-keyscan", "-T", "1", "-p", str(SSH_PORT), self.address]
        return bool(subprocess.run(look, capture_output=True, check=False).stdout)

    def stop_sshd(self) -> None:
        """End sshd and the connections that it has, as where the machine is gone."""
        assert self.sshd is not None
        listener = psutil.Process(self.sshd.pid)
        for one in (listener, *listener.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                one.kill()
        self.sshd.wait()

    def connect(self) -> DockerEngine:
        """Connect to the engine by ssh, as the user's configuration of it says."""
        programs = self.directory / "programs"
        if not programs.exists():
            programs.mkdir()
            wrapper = programs / "ssh"
            config = f"{self.user.pw_dir}/.ssh/config"
            wrapper.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {config} "$@"\n')
            wrapper.chmod(0o755)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
            return DockerEngine(self.ssh)

    @contextmanager
    def process_on(self, port: int) -> Iterator[None]:
        """Let a process of the machine have a port of its loopback."""
        there = f"('127.0.0.1', {port})"
        listen = f"import socket, time; s = socket.create_server({there}); time.sleep(99)"
        holder = subprocess.Popen([*self.enter, "/usr/bin/python3", "-c", listen])
        look = ["/usr/bin/python3", "-c", f"import socket; socket.create_connection({there})"]
        try:
            assert eventually(lambda: self.run(*look).returncode == 0)
            yield
        finally:
            holder.kill()
            holder.wait()

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the machine's network, as root."""
        words = [*self.enter, *command]
        return subprocess.run(words, capture_output=True, text=True, check=False)

    def volumes(self) -> list[str]:
        """Return the names of the engine's volumes."""
        command = ["docker", "--host", self.endpoint, "volume", "ls", "--quiet"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stdout.split()

    def close(self) -> None:
        if self.sshd and self.sshd.poll() is None:
            self.stop_sshd()
        super().close()
        subprocess.run(["ip", "netns", "delete", self.network], check=True)

    def fresh_network(self) -> None:
        """Leave the network: its name is how one gets there."""


def _make_network(name: str, *, here: str, there: str) -> None:
    ends = [f"{name[-10:]}a", f"{name[-10:]}b"]
    inside = ["ip", "-netns", name]
    for command in (
        ["ip", "netns", "add", name],
        ["ip", "link", "add", ends[0], "type", "veth", "peer", "name", ends[1], "netns", name],
        ["ip", "address", "add", f"{here}/30", "dev", ends[0]],
        ["ip", "link", "set", ends[0], "up"],
        [*inside, "address", "add", f"{there}/30", "dev", ends[1]],
        [*inside, "link", "set", ends[1], "up"],
        [*inside, "link", "set", "lo", "up"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Unavailable(f"no network for another machine: {done.stderr.strip()}")


def _certify(directory: Path, address: str) -> None:
    """Make an authority, and with it certificates for an engine and its client."""
    directory.mkdir()
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    signed = ["-CA", "ca.pem", "-CAkey", "ca-key.pem"]
    for name, more in {
        "ca": ["-addext", "keyUsage=critical,keyCertSign"],
        "server": [*signed, "-addext", f"subjectAltName=IP:{address}"],
        "client": [*signed, "-addext", "extendedKeyUsage=clientAuth"],
    }.items():
        names = ["-subj", f"/CN={name}", "-keyout", f"{name}-key.pem", "-out", f"{name}.pem"]
        command = ["openssl", "req", "-x509", *key, *names, *more]
        subprocess.run(command, cwd=directory, check=True, capture_output=True)
    # As the client of docker wants them to be called.
    (directory / "client.pem").rename(directory / "cert.pem")
    (directory / "client-key.pem").rename(directory / "key.pem")


@contextmanager
def running(directory: Path) -> Iterator[FarHost]:
    """Run another machine, with a user that the test makes.

    Raises:
        Unavailable: that can't be done here.
    """
    if os.getuid() != 0 or shutil.which("nsenter") is None:
        raise Unavailable("another machine needs root and nsenter")
    let_others_pass(directory)
    with ExitStack() as undo:
        user = undo.enter_context(account(f"jobctl-far{WORKER}", directory / "home"))
        (directory / "host").mkdir()
        host = FarHost(directory / "host", user)
        undo.callback(host.close)
        host.set_up()
        yield host


@pytest.fixture(scope="session")
def far_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FarHost]:
    """Return another machine, with the images of Conduit and of the gateway."""
    from tests.conftest import unavailable

    try:
        with running(tmp_path_factory.mktemp("far")) as host:
            host.load("jobctl/gateway", "jobctl/conduit")
            yield host
    except Unavailable as error:
        unavailable(str(error))


@contextmanager
def site_for(host: FarHost, command: Path, root: Path) -> Iterator[Site]:
    """Yield a place, on this machine, where the user of another runs jobctl."""
    let_others_pass(root.parent)
    engine = DockerEngine(host.endpoint)
    site = Site(command, root, engine, next_ports(), host.user)
    try:
        yield site
    finally:
        site.clear()
        engine.close()
