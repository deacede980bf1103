"""A rootless engine of an ordinary user.

It is the engine's own ``dockerd-rootless.sh``, kept out of this host's way by a mount
namespace, where ``/dev/net/tun`` is for everybody, as it is on hosts with udev.
"""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.waiting import eventually

# Debian has it out of the way, Docker's own packages on the path.
ROOTLESS_SH = Path(
    shutil.which("dockerd-rootless.sh") or "/usr/share/docker.io/contrib/dockerd-rootless.sh"
)
NEEDED = ("newuidmap", "slirp4netns", "rootlesskit", "setpriv")
START_S = 30


class Unavailable(Exception):
    """This machine can't run such an engine; the message says what it lacks."""


@dataclass(frozen=True)
class Rootless:
    """An engine that ``account`` runs."""

    account: pwd.struct_passwd
    socket: Path

    @property
    def endpoint(self) -> str:
        return f"unix://{self.socket}"


@contextmanager
def account(
    name: str, home: Path, *, gid: int | None = None, groups: Sequence[int] = ()
) -> Iterator[pwd.struct_passwd]:
    """Make a user with a home directory, and with subordinate ids where users get those.

    ``gid`` is the primary group, of the user's own without; ``groups`` are further ones.
    """
    more = ["--no-user-group", "--gid", str(gid)] if gid is not None else ["--user-group"]
    more += ["--groups", ",".join(map(str, groups))]
    make: list[str | Path] = ["useradd", "--home-dir", home, "--shell", "/bin/sh", *more, name]
    subprocess.run(make, check=True)
    try:
        made = pwd.getpwnam(name)
        home.mkdir(mode=0o755)
        os.chown(home, made.pw_uid, made.pw_gid)
        yield made
    finally:
        # Whatever is left of the user's processes waits to be noticed by who adopted it.
        subprocess.run(["userdel", "--force", name], check=True)


@contextmanager
def rootless_engine(name: str, directory: Path) -> Iterator[Rootless]:
    """Run a rootless engine as a new user with all its files below ``directory``.

    Raises:
        Unavailable: that can't be done here.
    """
    lacking = [program for program in NEEDED if shutil.which(program) is None]
    if os.getuid() != 0 or lacking or not ROOTLESS_SH.exists():
        raise Unavailable(f"a rootless engine needs root, docker.io and {lacking or NEEDED}")
    with ExitStack() as undo:
        user = undo.enter_context(account(name, directory / "home"))
        runtime = directory / "run"
        runtime.mkdir(mode=0o700)
        os.chown(runtime, user.pw_uid, user.pw_gid)
        log = undo.enter_context((directory / "log").open("wb"))
        process = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", _script(user, directory)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        undo.callback(_stop, process)
        engine = Rootless(user, runtime / "docker.sock")
        if not eventually(lambda: _answers(engine) or process.poll() is not None, timeout=START_S):
            raise Unavailable(f"the rootless engine did not answer within {START_S} s")
        if process.poll() is not None:
            end = (directory / "log").read_text(errors="replace")[-1000:]
            raise Unavailable(f"the rootless engine did not start: {end}")
        yield engine


def _script(user: pwd.struct_passwd, directory: Path) -> str:
    tun, path = directory / "tun", os.environ["PATH"]
    words = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--init-groups"]
    words += ["env", "-i", f"PATH={path}:/usr/sbin:/sbin", f"HOME={directory}/home"]
    words += [f"XDG_RUNTIME_DIR={directory}/run", str(ROOTLESS_SH)]
    return (
        f"set -e; mount --make-rprivate /; mknod -m 666 {tun} c 10 200; "
        f"mount --bind {tun} /dev/net/tun; exec {shlex.join(words)}"
    )


def _answers(engine: Rootless) -> bool:
    ask = ["docker", "--host", engine.endpoint, "version"]
    return subprocess.run(ask, capture_output=True, check=False).returncode == 0


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(START_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
