"""Podman for tests: root's and an ordinary user's, each with all its files in a directory.

Both are kept out of this host's way by a mount namespace. There, ``/dev/net/tun`` is for everybody,
as it is on hosts with udev. What they run on is Debian's Podman with runc: its crun refuses hosts
that have both versions of cgroups.
"""

from __future__ import annotations

import os
import pwd
import resource
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from tests.rootless import Unavailable, account
from tests.waiting import eventually

NEEDED = ("podman", "runc", "slirp4netns", "catatonit", "setpriv")
ROOTLESS_NEEDED = ("newuidmap", "newgidmap")
START_S = 30


@dataclass(frozen=True)
class Podman:
    """A Podman that ``account`` runs, with its files in ``directory``."""

    account: pwd.struct_passwd
    directory: Path

    @property
    def rootless(self) -> bool:
        return self.account.pw_uid != 0

    @property
    def socket(self) -> Path:
        return self.directory / "run/podman/podman.sock"

    @property
    def endpoint(self) -> str:
        return f"unix://{self.socket}"

    @property
    def env(self) -> dict[str, str]:
        """What the ``podman`` command finds its files by."""
        return {
            "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin",
            "HOME": str(self.directory / "home"),
            "XDG_RUNTIME_DIR": str(self.directory / "run"),
            "CONTAINERS_CONF": str(self.directory / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(self.directory / "storage.conf"),
        }

    def uid(self, inside: int) -> int:
        """Return who a user inside a container is on this host (user_namespaces(7))."""
        if not self.rootless:
            return inside
        if inside == 0:
            return self.account.pw_uid
        rows = (line.split(":") for line in Path("/etc/subuid").read_text().splitlines())
        first = next(int(row[1]) for row in rows if row[0] == self.account.pw_name)
        return first + inside - 1

    def load(self, *images: str) -> None:
        """Copy images from the engine of the other tests."""
        with subprocess.Popen(["docker", "save", *images], stdout=subprocess.PIPE) as saved:
            load = ["docker", "--host", self.endpoint, "load"]
            subprocess.run(load, stdin=saved.stdout, check=True, capture_output=True)


@contextmanager
def rootful_podman() -> Iterator[Podman]:
    """Run a Podman of root.

    Raises:
        Unavailable: that can't be done here.
    """
    with _directory() as directory:
        (directory / "home").mkdir()
        with _served(Podman(pwd.getpwuid(0), directory)) as podman:
            yield podman


@contextmanager
def rootless_podman(name: str) -> Iterator[Podman]:
    """Run a Podman as a new user.

    Raises:
        Unavailable: that can't be done here.
    """
    lacking = [program for program in ROOTLESS_NEEDED if shutil.which(program) is None]
    if os.getuid() != 0 or lacking:
        raise Unavailable(f"a rootless Podman needs root to make a user, and {lacking}")
    with (
        _directory() as directory,
        account(name, directory / "home") as user,
        _served(Podman(user, directory)) as podman,
    ):
        yield podman


@contextmanager
def _directory() -> Iterator[Path]:
    """Make a directory that others get to, whatever pytest does to its own.

    Its name is short: the path of a socket, which slirp4netns has below it, is at most 107 bytes.
    """
    with TemporaryDirectory(prefix="jobctl-", dir="/tmp") as made:
        Path(made).chmod(0o755)
        yield Path(made)


@contextmanager
def _served(podman: Podman) -> Iterator[Podman]:
    lacking = [program for program in NEEDED if shutil.which(program) is None]
    if os.getuid() != 0 or lacking:
        raise Unavailable(f"Podman needs root and {lacking or NEEDED}")
    _configure(podman)
    for path in (podman.socket.parent.parent, podman.socket.parent):
        path.mkdir(mode=0o700)
        os.chown(path, podman.account.pw_uid, podman.account.pw_gid)
    with ExitStack() as undo:
        log = undo.enter_context((podman.directory / "log").open("wb"))
        process = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", _script(podman)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        undo.callback(_stop, podman, process)
        eventually(lambda: _answers(podman) or process.poll() is not None, timeout=START_S)
        if not _answers(podman):
            end = (podman.directory / "log").read_text(errors="replace")[-1000:]
            raise Unavailable(f"Podman did not start: {end}")
        yield podman


def _configure(podman: Podman) -> None:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    (podman.directory / "containers.conf").write_text(
        f'[engine]\nruntime = "runc"\n[containers]\ndefault_ulimits = ["nofile={most}:{most}"]\n'
    )
    home, run = podman.directory / "home", podman.directory / "run"
    (podman.directory / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{home}/storage"\nrunroot = "{run}/storage"\n'
        # A store that was made with another driver is told apart by it.
        f'rootless_storage_path = "{home}/storage"\n'
    )


def _script(podman: Podman) -> str:
    tun, account = podman.directory / "tun", podman.account
    words = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--init-groups"]
    words += ["env", "-i", *(f"{name}={value}" for name, value in podman.env.items())]
    words += ["podman", "system", "service", "--time=0", podman.endpoint]
    return (
        f"set -e; mount --make-rslave /; mknod -m 666 {tun} c 10 200; "
        f"mount --bind {tun} /dev/net/tun; cd {podman.directory}; exec {shlex.join(words)}"
    )


def _answers(podman: Podman) -> bool:
    ask = ["docker", "--host", podman.endpoint, "version"]
    return subprocess.run(ask, capture_output=True, check=False).returncode == 0


def docker(podman: Podman, *words: str | Path) -> str:
    """Run a ``docker`` command on a Podman and return what it prints."""
    command: Sequence[str | Path] = ["docker", "--host", podman.endpoint, *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _stop(podman: Podman, process: subprocess.Popen[bytes]) -> None:
    """End it and all that it leaves running, which has its directory or its user to be known by."""
    with suppress(subprocess.CalledProcessError):
        if left := docker(podman, "ps", "--all", "--quiet").split():
            docker(podman, "rm", "--force", "--volumes", *left)
    process.terminate()
    for _ in range(2):  # what had just been started
        for found in psutil.process_iter():
            with suppress(psutil.NoSuchProcess):
                if _belongs(podman, found):
                    found.kill()
    process.wait(START_S)


def _belongs(podman: Podman, process: psutil.Process) -> bool:
    own = podman.rootless and process.uids().real == podman.account.pw_uid
    return own or any(str(podman.directory) in word for word in process.cmdline())
