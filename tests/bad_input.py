"""Input that nobody means well with: strategies, the command line in-process, what must hold."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import docker.types
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from jobctl import cli
from jobctl.engines import endpoints
from jobctl.engines.base import ContainerSpec
from jobctl.engines.docker_values import create_kwargs, host_kwargs
from jobctl.job import Job
from tests.fake_engine import FakeEngine
from tests.profile import NIGHTLY

# In CI each run is the same: a failure there is one of the change, not of the dice.
settings.register_profile(
    "ci",
    max_examples=100,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
settings.register_profile(
    "nightly",
    max_examples=10_000,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("nightly" if NIGHTLY else "ci")

whole_commands = settings(max_examples=1000 if NIGHTLY else 50)
"""For what runs whole commands, each of which takes some twenty milliseconds."""

MD5 = "4d7e319876e0192ec7e422c53d4ba80a"
WINDOW_TITLE = "\x1b]0;owned\x07"
COLOUR = "\x1b[31;1m"
C1_COLOUR = "\x9b31m"
TURNED = "\u202egnp.exe"
FORGED_ROW = "demo\njob_1  root  sshd  launched  1 day  https://evil.example/"

# What drives a terminal: C0 but line breaks and tabs, DEL, C1, turning text round, half characters.
RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


# Strategies

nasty = st.sampled_from(
    [
        *(WINDOW_TITLE, COLOUR, C1_COLOUR, TURNED, FORGED_ROW, "\0", "a\0b", "\n", "a\n", "\r\n"),
        *("", " ", "\t", "\x7f", "\x85", "\u2028", "\u2067", "\ufeff", "\u00a0", "é", "漢字", "🂡"),
        *(
            "..",
            "../../etc/passwd",
            "/etc/shadow",
            "~",
            "~root",
            "~nobody-there/x",
            "$HOME",
            "`id`",
        ),
        *("$(id)", "; id", "| id", "'", '"', "\\", "{port}", "{args}", "{", "}}", "{nope}", "%s"),
        *("job_8000", "job_8123", "8000", "0", "-1", "--help", "NaN", "null", "true", "[", "{}"),
        *("9" * 30, "9" * 5000, "x" * 10_000, "a: b", "a - at `$.b", "- at `key` in `$.x`", "::"),
        *(
            "/a:/b",
            "/a:/b:rw",
            "/:/x",
            "/usr:/data\n",
            "A=B",
            "512m",
            "1g\n",
            "1:1\n",
            "5e99",
            "0.0",
        ),
    ]
)
text = st.one_of(nasty, st.text(max_size=40), st.text(st.characters(codec=None), max_size=20))
"""Any text, lone surrogates included."""
encodable = st.one_of(nasty, st.text(max_size=40))
"""Text that can be written as UTF-8."""
argument = st.one_of(
    encodable.filter(lambda word: "\0" not in word),
    st.binary(max_size=20).filter(lambda word: b"\0" not in word).map(os.fsdecode),
)
"""A word as a process can be given: bytes without NUL, which need not be UTF-8."""
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-10, 10_000),
    st.floats(),
    encodable,
    st.dates(date(1900, 1, 1)),
    st.binary(max_size=8),
)


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return lists and mappings of what ``inner`` gives, and of such."""
    return st.recursive(
        inner,
        lambda part: st.one_of(
            st.lists(part, max_size=4), st.dictionaries(encodable, part, max_size=4)
        ),
        max_leaves=12,
    )


anything = nested(scalars)
json_values = nested(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        encodable,
    )
)


# What must hold


@dataclass(frozen=True)
class Outcome:
    """What came of a command."""

    code: int
    out: str
    err: str


def well_behaved(outcome: Outcome) -> None:
    """Make sure that a command ended in words, and that no word of it drives a terminal."""
    assert outcome.code in (0, 1, 2), outcome
    assert "Traceback" not in outcome.err, outcome.err
    assert "a bug in jobctl" not in outcome.err, outcome.err
    assert not RAW.search(outcome.out), ascii(outcome.out)
    # Typer shows wrong words of the command line as they are; they are the caller's own.
    if "jobctl: " in outcome.err:
        assert not RAW.search(outcome.err), ascii(outcome.err)


def serialised(spec: ContainerSpec) -> bytes:
    """Return the request that a container would be made with, as strict JSON."""
    arguments = create_kwargs(spec) | {"name": None}
    del arguments["name"]
    host = docker.types.HostConfig(version="1.41", **host_kwargs(spec))
    config = docker.types.ContainerConfig(version="1.41", host_config=host, **arguments)
    request = json.dumps(config, allow_nan=False, ensure_ascii=False).encode()
    assert b"\\u0000" not in request
    assert host["CpuQuota"] > 0, "no limit"
    return request


class StrictEngine(FakeEngine):
    """An engine in memory that has every image, and takes only what can be sent to a real one."""

    def create(self, spec: ContainerSpec) -> str:
        serialised(spec)
        self.add_image(spec.image)
        return super().create(spec)


def a_job(**changes: Any) -> Job:
    """Return a job as it is on record."""
    values: dict[str, Any] = {
        "job_id": "job_8000",
        "app": "demo",
        "port": "8000",
        "protocol": "https",
        "host": "test-pc",
        "owner": "test",
        "job_root": "/state/test/",
        "status": "launched",
        "creation_timestamp": 1462323460,
        "url": "https://localhost:8000/",
        "image": "app",
    }
    return Job(**values | changes)


# The command line


class CommandLine:
    """The real command line in this process, on an engine in memory, with its own state."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.config = root / "config.yaml"
        self.engine = StrictEngine()
        self.state = root / "state"
        self.config.write_text("apps: {demo: {image: app, server_path: /bin/demo}}\n")
        monkeypatch.setattr(endpoints, "connect", lambda *_, **__: self.engine)
        monkeypatch.setenv("JOBCTL_CONFIG", str(self.config))
        monkeypatch.setenv("XDG_STATE_HOME", str(self.state))
        monkeypatch.setenv("XDG_CONFIG_HOME", str(root / "no-config"))
        monkeypatch.setenv("COLUMNS", "80")
        monkeypatch.chdir(root)
        (self.directory,) = [Path(self.run("ca", "path").out.strip()).parent]

    def run(self, *arguments: str, stdin: bytes = b"", encoding: str = "utf-8") -> Outcome:
        """Run a command to its end."""
        out, err = io.BytesIO(), io.BytesIO()
        handler, kept = signal.getsignal(signal.SIGTERM), sys.argv
        before = sys.stdin, sys.stdout, sys.stderr
        sys.argv = ["jobctl", *arguments]
        sys.stdin = io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8")
        sys.stdout = io.TextIOWrapper(out, encoding=encoding)
        sys.stderr = io.TextIOWrapper(err, encoding=encoding, errors="backslashreplace")
        try:
            code = self._exit_code()
            sys.stderr.flush()
            return Outcome(code, out.getvalue().decode(encoding), err.getvalue().decode(encoding))
        finally:
            sys.stdin, sys.stdout, sys.stderr = before
            sys.argv = kept
            signal.signal(signal.SIGTERM, handler)

    def _exit_code(self) -> int:
        try:
            cli.main()
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else int(end.code is not None)
        return 0

    def clear(self) -> None:
        """Forget all jobs, and whatever the last example configured."""
        self.engine = StrictEngine()
        for path in self.directory.iterdir():
            if not path.name.startswith("ca."):
                path.unlink()


@contextmanager
def nothing_outside(directory: Path, root: Path) -> Iterator[None]:
    """Make sure that no file appears, changes or vanishes below ``root`` but in ``directory``."""
    before = _files(root, directory)
    yield
    assert _files(root, directory) == before


def _files(root: Path, but: Path) -> Mapping[str, tuple[int, int]]:
    return {
        str(path): (path.lstat().st_mtime_ns, path.lstat().st_size)
        for path in root.rglob("*")
        if not path.is_relative_to(but) and not but.is_relative_to(path)
    }
