"""A place to try the installed command in: own configuration, own state, own range of ports."""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from zlib import crc32

import pytest
import yaml

from jobctl import hosts
from jobctl.engines.base import Container, Engine

PROJECT = Path(__file__).parent.parent
PORTS_PER_SITE = 30
# Not the shipped range: a developer's own jobs may be there. Each of the processes that run tests
# has ports of its own, and another run on the same engine begins elsewhere.
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
_MOST_WORKERS, _BLOCKS_EACH = 8, 25
_RUN = crc32(os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid())).encode())
_blocks = (
    20000 + ((_RUN + n) % _BLOCKS_EACH * _MOST_WORKERS + int(WORKER)) * PORTS_PER_SITE
    for n in itertools.count()
)


def next_ports() -> tuple[int, int]:
    """Return a range of ports of which nobody has one, be it another site or test run."""
    low = next(low for low in _blocks if not any(map(_taken, range(low, low + PORTS_PER_SITE))))
    return (low, low + PORTS_PER_SITE - 1)


def _taken(port: int) -> bool:
    return hosts.is_bound("127.0.0.1", port)


@dataclass
class Site:
    """Runs ``command`` with nothing of the developer's own configuration in reach."""

    command: Path
    root: Path
    engine: Engine
    ports: tuple[int, int]
    account: pwd.struct_passwd = field(default_factory=lambda: pwd.getpwuid(os.getuid()))
    """Who runs it: oneself, or as root anybody."""
    env: dict[str, str] = field(default_factory=dict)
    _authority: str = ""

    def __post_init__(self) -> None:
        self.state = self.root / "project" / "state"
        self.state.parent.mkdir(parents=True)
        self.directory = self.state / "jobctl" / self.account.pw_name
        self.config = self.root / "config.yaml"
        shutil.copytree(PROJECT / "app_modules", self.root / "app_modules")
        values = yaml.safe_load((PROJECT / "config.yaml").read_text())
        values["general"]["port_range"] = list(self.ports)
        self.config.write_text(yaml.safe_dump(values))
        kept = {name: os.environ[name] for name in ("PATH", "DOCKER_HOST") if name in os.environ}
        self.env = kept | {
            "HOME": str(self.root),
            "XDG_STATE_HOME": str(self.state),
            "JOBCTL_CONFIG": str(self.config),
        }
        for path in (self.root, self.state.parent):
            os.chown(path, self.account.pw_uid, self.account.pw_gid)

    @property
    def identity(self) -> dict[str, Any]:
        """What makes a subprocess that of the account, with its access to the engine's socket."""
        if self.account.pw_uid == os.getuid():
            return {}
        socket = self.engine.local_socket
        groups = [Path(socket).stat().st_gid] if socket else []
        return {
            "user": self.account.pw_uid,
            "group": self.account.pw_gid,
            "extra_groups": groups,
            "umask": 0o022,
        }

    def configure(self, app: str, **keys: Any) -> None:
        """Set keys of an app's section."""
        values = yaml.safe_load(self.config.read_text())
        values["apps"].setdefault(app, {}).update(keys)
        self.config.write_text(yaml.safe_dump(values))

    def configure_general(self, **keys: Any) -> None:
        """Set keys of the section ``general``."""
        values = yaml.safe_load(self.config.read_text())
        values["general"].update(keys)
        self.config.write_text(yaml.safe_dump(values))

    @contextmanager
    def start(self, *arguments: str, stdin: str = "") -> Iterator[subprocess.Popen[str]]:
        """Start a command and don't wait for it; it is killed if it is not through by the end."""
        with (
            _pipe_holding(stdin) as given,
            subprocess.Popen(
                [self.command, *arguments],
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=self.env,
                cwd=self.state.parent,
                **self.identity,
                # A test run in the background has Ctrl-C ignored, which children would inherit.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            ) as process,
        ):
            try:
                yield process
            finally:
                process.kill()

    def run(
        self, *arguments: str, stdin: str = "", cwd: Path | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; with ``check`` it has to succeed."""
        done = subprocess.run(
            [self.command, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            env=self.env,
            cwd=cwd or self.state.parent,
            check=False,
            timeout=180,
            **self.identity,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"jobctl {' '.join(arguments)}: {done.stderr}")
        return done

    def run_json(self, *arguments: str, stdin: str = "", cwd: Path | None = None) -> Any:
        """Run a command that prints JSON."""
        return json.loads(self.run(*arguments, stdin=stdin, cwd=cwd).stdout)

    def authority(self) -> str:
        """Return the path of the certificate that clients have to trust."""
        if not self._authority:
            self._authority = self.run("ca", "path").stdout.strip()
        return self._authority

    def containers(self) -> list[Container]:
        """Return the containers of this site's jobs, whatever the records say."""
        return self.engine.containers([f"jobctl.job_root={self.directory}/"])

    def assert_nothing_left(self) -> None:
        """Make sure that there is no container, file or line of a job any more."""
        assert self.containers() == []
        left = [path.name for path in self.directory.glob("job_*")]
        assert left == []
        records = self.directory / "connections.txt"
        assert not records.exists() or records.read_text() == ""

    def clear(self) -> None:
        """Remove what a test left."""
        for container in self.containers():
            self.engine.remove(container.id)
        self.engine.sweep([f"jobctl.job_root={self.directory}/"])
        for recipe in (self.root / "images").glob("*"):
            command = ["docker", "image", "rm", "--force", f"jobctl/{recipe.name}"]
            subprocess.run(command, check=False, capture_output=True)


def _pipe_holding(text: str) -> IO[bytes]:
    """Return the end to read from of a pipe that holds a line or so, and then ends."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as pipe:
        pipe.write(text.encode())
    return os.fdopen(reading, "rb")


def install(interpreter: str, environment: Path, *packages: Path) -> Path:
    """Install the project as a user would, not editable, and return the command."""
    venv: list[str | Path] = [interpreter, "-m", "venv", "--without-pip", environment]
    subprocess.run(venv, check=True)
    python = environment / "bin" / "python"
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    subprocess.run([*pip, PROJECT, *packages], check=True)
    return environment / "bin" / "jobctl"


def _installed_once(
    interpreter: str, name: str, factory: pytest.TempPathFactory, *, for_all: bool = False
) -> Path:
    """Return the command as the first of the processes that run tests has installed it."""
    base = factory.getbasetemp()
    directory = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    directory.mkdir(exist_ok=True)
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = directory / "done"
        if not done.exists():
            if for_all:
                let_others_pass(directory)
            install(interpreter, directory / "venv")
            done.touch()
    return directory / "venv/bin/jobctl"


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the installed command."""
    return _installed_once(sys.executable, "installed", tmp_path_factory)


@pytest.fixture(scope="session")
def installed_for_all(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a command that other users can run too; one's own Python may be for oneself only."""
    if os.getuid() != 0:
        return installed
    return _installed_once("/usr/bin/python3", "for-all", tmp_path_factory, for_all=True)


def let_others_pass(directory: Path) -> None:
    """Open a directory of pytest's, and those above it that pytest made for nobody but oneself."""
    for path in (directory, *directory.parents):
        if path.name.startswith("pytest-of-"):
            path.chmod(0o755)
            return
        path.chmod(0o755)


@contextmanager
def opened(command: Path, engine: Engine, directory: Path) -> Iterator[Site]:
    """Yield a place to try the command in; what is left of it at the end is removed."""
    # The engine runs apps of root as another user, who has to get at the working directory.
    let_others_pass(directory)
    site = Site(command, directory / "site", engine, next_ports())
    try:
        yield site
    finally:
        site.clear()


@pytest.fixture
def site(installed: Path, engine: Engine, tmp_path: Path) -> Iterator[Site]:
    """Return a place to try the command in, for one test."""
    with opened(installed, engine, tmp_path) as site:
        yield site


@pytest.fixture(scope="module")
def shared_site(
    installed: Path, engine: Engine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """Return a place whose jobs the tests of a module look at together."""
    with opened(installed, engine, tmp_path_factory.mktemp("shared")) as site:
        yield site


@pytest.fixture
def users_site(site: Site, installed_for_all: Path, tmp_path: Path) -> Iterator[Site]:
    """Return the place of an ordinary user, whom the test makes if it is run by root."""
    if os.getuid() != 0:
        yield site
        return
    name = f"jobctl-{secrets.token_hex(3)}"
    subprocess.run(["useradd", "--no-create-home", "--shell", "/bin/sh", name], check=True)
    try:
        account = pwd.getpwnam(name)
        theirs = Site(installed_for_all, tmp_path / "theirs", site.engine, site.ports, account)
        yield theirs
        theirs.clear()
    finally:
        subprocess.run(["userdel", name], check=True)
