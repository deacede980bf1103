"""In the shells that users type in: completion of apps, jobs and images, and the version."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pexpect
import pytest

from jobctl import __version__
from tests.site import PROJECT, Site
from tests.waiting import eventually

HOSTILE = [
    "$(touch pwned)",
    "`touch pwned`",
    "'; touch pwned; '",
    '"; touch pwned; "',
    '\\"; touch pwned; \\"',
    "')) ; touch pwned ; ((",
    "x:y\\:z $HOME ${(e):-$(touch pwned)}",
    "a\nb\ttouch pwned\x1b]0;title\x07\x1b[31m",
    "*?[a-z]{1,2}~ (touch pwned)",
    # What quotes a dollar sign by one backslash is undone by another one before it.
    "\\$(touch pwned)",
    "\\`touch pwned`",
]
SHELLS = ["bash", "zsh", "fish"]
START_OF_LINE, INTERRUPT = "\x01", "\x03"


@pytest.fixture
def silent_engine(site: Site) -> Iterator[socket.socket]:
    """Make the engine one that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        site.env["DOCKER_HOST"] = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        yield server


@pytest.fixture
def ports(site: Site) -> list[int]:
    """Put jobs on record whose texts want to be run by a shell, and return their ports."""
    site.directory.mkdir(mode=0o700, parents=True)
    first = site.ports[0] // 10 * 10 + 10
    # The last begins as no other does.
    found = [*range(first, first + len(HOSTILE) - 1), first + 10]
    lines = [
        json.dumps(record(site, port, text)) for port, text in zip(found, HOSTILE, strict=True)
    ]
    (site.directory / "connections.txt").write_text("\n".join(lines) + "\n")
    return found


def record(site: Site, port: int, text: str) -> dict[str, object]:
    """Return a job object with a text in each of its keys that takes any."""
    return {
        "job_id": f"job_{port}",
        "port": str(port),
        "job_root": f"{site.directory}/",
        "creation_timestamp": 1462323460,
        **dict.fromkeys(("app", "protocol", "host", "owner", "status", "url", "image"), text),
    }


class Shell:
    """An interactive shell on a terminal of its own, with the completion installed as users do."""

    def __init__(self, name: str, site: Site) -> None:
        site.env |= {
            "PATH": f"{site.command.parent}:{os.environ['PATH']}",
            "TERM": "xterm",
            "SHELL": f"/usr/bin/{name}",
        }
        self._name = name
        self._site = site
        install = self._spawn()
        install.sendline("jobctl --install-completion")
        install.expect("completion installed in")
        install.close(force=True)
        self.terminal = self._spawn()
        self.terminal.sendline("echo re''ady")
        self.terminal.expect("ready")

    def _spawn(self) -> pexpect.spawn[str]:
        return pexpect.spawn(
            self._name,
            ["-i"],
            env=self._site.env,
            cwd=str(self._site.state.parent),
            dimensions=(60, 200),
            encoding="utf-8",
            timeout=60,
        )

    def completed(self, typed: str) -> list[str]:
        """Return the words of the line that Tab makes of what was typed."""
        self.terminal.sendline(f"{typed}\t{START_OF_LINE}printf '<%s>' [ ")
        # To the next prompt: what is read first may be a part.
        self.terminal.expect(r"<\[>(?:<[^>]*>)+[^<]")
        return re.findall("<([^>]*)>", str(self.terminal.after))[1:]

    def lists(self, typed: str, words: Sequence[str]) -> bool:
        """Tell whether words are shown when Tab does not get any further."""
        self.terminal.send(f"{typed}\t\t\t")
        shown = ""

        def all_shown() -> bool:
            nonlocal shown
            with suppress(pexpect.TIMEOUT):
                shown += self.terminal.read_nonblocking(4096, timeout=0.2)
            plain = re.sub(r"\x1b(\[[0-9;?]*[A-Za-z]|\(B)", "", shown)
            return all(word in plain for word in words)

        seen = eventually(all_shown, timeout=60)
        self.terminal.send(INTERRUPT)
        self.terminal.sendline("echo still''here")
        self.terminal.expect_exact("stillhere")
        return seen


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, site: Site) -> Iterator[Shell]:
    found = Shell(request.param, site)
    yield found
    found.terminal.close(force=True)


@pytest.mark.engine
def test_what_tab_makes_of_a_line(
    site: Site, silent_engine: socket.socket, ports: list[int], shell: Shell
) -> None:
    last = f"job_{ports[-1]}"
    for typed, expected in {
        "jobctl insp": ["jobctl", "inspect"],
        "jobctl run cond": ["jobctl", "run", "conduit"],
        f"jobctl stop {last[:-1]}": ["jobctl", "stop", last],
        f"jobctl rm {ports[-1]}": ["jobctl", "rm", str(ports[-1])],
        "jobctl config show jup": ["jobctl", "config", "show", "jupyter"],
        "jobctl images build tens": ["jobctl", "images", "build", "tensorboard"],
        "jobctl run --image jobctl/mar": ["jobctl", "run", "--image", "jobctl/marimo"],
        "jobctl broker -r -a cond": ["jobctl", "broker", "-r", "-a", "conduit"],
        f"jobctl --config {site.root}/none.yaml run cond": [
            *("jobctl", "--config", f"{site.root}/none.yaml", "run", "cond")
        ],
    }.items():
        assert shell.completed(typed) == expected
    assert_not_asked(silent_engine)


@pytest.mark.engine
def test_hostile_records_are_listed_and_nothing_of_them_is_run(
    site: Site, silent_engine: socket.socket, ports: list[int], shell: Shell
) -> None:
    assert shell.lists("jobctl stop job_", [f"job_{port}" for port in ports])

    assert list(site.root.rglob("pwned")) == []
    assert_not_asked(silent_engine)


def assert_not_asked(engine: socket.socket) -> None:
    """Make sure that nobody has connected."""
    engine.setblocking(False)
    with pytest.raises(BlockingIOError):
        engine.accept()


@pytest.mark.parametrize("words", ["stop job_", "run con", "run --image jobctl/", "ps --"])
def test_completion_imports_nothing_heavy_and_makes_no_file(tmp_path: Path, words: str) -> None:
    env = {
        "HOME": str(tmp_path),
        "_JOBCTL_COMPLETE": "complete_bash",
        "COMP_WORDS": f"jobctl {words}",
        "COMP_CWORD": str(len(words.split())),
    }

    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "jobctl"],
        cwd=PROJECT,
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )

    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "typer" in loaded
    assert loaded & {"docker", "requests", "cryptography", "passlib", "rich.table"} == set()
    assert list(tmp_path.iterdir()) == []


def test_completion_of_a_configuration_that_is_wrong_is_silent(tmp_path: Path) -> None:
    broken = tmp_path / "config.yaml"
    broken.write_text("apps: [")
    env = {
        "JOBCTL_CONFIG": str(broken),
        "_JOBCTL_COMPLETE": "complete_bash",
        "COMP_WORDS": "jobctl run con",
        "COMP_CWORD": "2",
    }

    done = jobctl(env=env)

    assert (done.stdout.strip(), done.stderr) == ("", "")


def jobctl(*arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the command line as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "jobctl", *arguments],
        cwd=PROJECT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.engine
def test_the_version_names_the_engine_too(site: Site) -> None:
    said = site.run("--version").stdout

    assert said == f"jobctl {__version__}, docker {site.engine.version()}\n"


@contextmanager
def unanswering() -> Iterator[str]:
    """Yield the address of an engine that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("host", ["", "unix:///nowhere.sock", "bogus", "ssh://127.0.0.1:1"])
def test_the_version_without_an_engine(tmp_path: Path, host: str) -> None:
    with unanswering() as address:
        began = time.monotonic()
        done = jobctl("--version", env={"HOME": str(tmp_path), "DOCKER_HOST": host or address})
        took = time.monotonic() - began

    assert (done.returncode, done.stdout) == (0, f"jobctl {__version__}\n")
    assert done.stderr == ""
    assert took < 20  # of which an engine gets 2


def test_the_version_with_a_configuration_that_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("apps: [")

    done = jobctl("--version", env={"JOBCTL_CONFIG": str(tmp_path / "config.yaml")})

    assert (done.returncode, done.stdout) == (0, f"jobctl {__version__}\n")
