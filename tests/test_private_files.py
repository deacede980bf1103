"""Files private from birth: what jobctl asks of the kernel, seen by strace, with an umask of 0."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.site import Site
from tests.test_secrets import lines_of_key

pytestmark = pytest.mark.engine

CALLS = "execve,umask,open,openat,creat,mkdir,mkdirat,mknod,mknodat,chmod,fchmod,fchmodat"
_CALL = re.compile(r"^\d+ +(\w+)\((.*)")
_PATH = re.compile(r'"((?:[^"\\]|\\.)*)"')
_MODE = re.compile(r"\b0[0-7]*\b")
# As documented for modules since the first scripts: with open(), which knows no modes.
PLAIN_MODULE = """
from jobctl.helpers import gen_cert, get_launch_cmd, get_password
def gen_config(job):
    path = job["job_root"] + job["job_id"] + "_config.txt"
    with open(path, "w") as file:
        file.write(job["password_hash"])
    return path
"""


class Made(NamedTuple):
    """A file or directory that was asked for: by which call, and with what mode in effect."""

    call: str
    path: str
    mode: int


@dataclass
class Trace:
    """What jobctl asked for in the life of a job."""

    text: str
    directory: Path
    secrets: list[str]

    def calls(self) -> Iterator[tuple[str, str]]:
        for line in self.text.splitlines():
            if found := _CALL.match(line):
                yield found[1], found[2]

    def made(self) -> list[Made]:
        """Return all that could be created, in order; every process begins with an umask of 0."""
        umask, found = 0, []
        for call, rest in self.calls():
            if call == "umask":
                umask = int(rest.partition(")")[0], 8)
            elif call in ("mkdir", "mkdirat", "mknod", "mknodat", "creat") or "O_CREAT" in rest:
                path = _PATH.search(rest)
                assert path is not None
                mode = _MODE.search(rest, path.end())
                assert mode is not None, rest
                found.append(Made(call, path[1], int(mode[0], 8) & ~umask))
        return found


def traced(site: Site, file: Path, *arguments: str) -> str:
    """Run a command under strace with an umask of 0 and return what it printed first."""
    strace = ["strace", "-f", "-v", "-s", "9999", "-e", f"trace={CALLS}", "-A", "-o", str(file)]
    done = subprocess.run(
        [*strace, str(site.command), *arguments],
        env=site.env,
        cwd=site.state.parent,
        umask=0,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def trace(shared_site: Site, tmp_path_factory: pytest.TempPathFactory) -> Trace:
    """Trace a job from the first one, for which the authority is made, to its removal."""
    site, file = shared_site, tmp_path_factory.mktemp("strace") / "trace"
    (site.root / "app_modules" / "plain_module.py").write_text(PLAIN_MODULE)
    site.configure("conduit", app_module="plain_module", app_module_path="app_modules")
    site.configure("conduit", command=["python3", "-m", "http.server", "{port}", "-b127.0.0.1"])
    said = traced(site, file, "run", "conduit", "--generate-password")
    job = said.split()[0]
    password = re.search(r"password +(\S+)", said)
    assert password is not None
    secrets = [password[1], (site.directory / f"{job}_htpasswd").read_text().strip()[-32:]]
    for key in (site.directory / "ca.key", site.directory / f"{job}.key"):
        secrets += lines_of_key(key)
    for arguments in (("stop", job), ("start", job), ("inspect", job), ("rm", "--force", job)):
        traced(site, file, *arguments)
    return Trace(file.read_text(), site.directory, secrets)


def test_every_file_is_private_from_the_moment_it_exists(trace: Trace) -> None:
    below = [one for one in trace.made() if one.path.startswith(f"{trace.directory}/")]
    kinds = {re.sub(r"job_\d+|\.new", "", Path(one.path).name) for one in below}

    assert {".key", ".pem", "_htpasswd", "_config.txt", "_gateway.conf"} <= kinds
    assert {"ca.key", "connections.txt", "connections.lock"} <= kinds
    assert [one for one in below if one.mode != 0o600] == []


def test_the_directory_is_private_from_the_moment_it_exists(trace: Trace) -> None:
    modes = [one.mode for one in trace.made() if one.path == str(trace.directory)]

    assert modes
    assert set(modes) == {0o700}


def test_nothing_is_made_that_others_could_change(trace: Trace) -> None:
    """Such as the compiled form of an app's module, which the next launch would run."""
    assert [one for one in trace.made() if one.mode & 0o022] == []


def test_no_mode_is_ever_widened(trace: Trace) -> None:
    modes = [
        int(mode[0], 8)
        for call, rest in trace.calls()
        if call in ("chmod", "fchmod", "fchmodat")
        for mode in [_MODE.search(re.sub(r'"[^"]*"', "", rest))]
        if mode
    ]

    assert modes
    assert [oct(mode) for mode in modes if mode & 0o077] == []


def test_no_program_is_started_with_a_secret(trace: Trace) -> None:
    started = [rest for call, rest in trace.calls() if call == "execve"]

    assert any(str(trace.directory.parent.parent) in rest for rest in started)  # environments too
    assert [rest for rest in started if any(secret in rest for secret in trace.secrets)] == []
