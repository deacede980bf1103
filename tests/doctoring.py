"""Looking at a host in the tests: through the installed command, or a single look in this process.

With the command everything is real; a look alone takes a few milliseconds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobctl import certs
from jobctl.broker import Broker
from jobctl.config import load
from jobctl.doctor import LOOKS, Finding, Repair, Subject, examine, mend
from jobctl.engines.base import Engine
from jobctl.job import Job
from jobctl.registry import Registry
from tests.site import PROJECT, Site

NAMES = [look.name for look in LOOKS]
only_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can break that")


@dataclass
class Seen:
    """What one run of the command has found."""

    findings: list[dict[str, Any]]
    exit_code: int

    def verdict(self, name: str) -> str:
        return str(self.of(name)["verdict"])

    def words(self, name: str) -> str:
        found = self.of(name)
        return f"{found['seen']} -> {found['fix']}"

    def having(self, verdict: str) -> list[str]:
        return [one["name"] for one in self.findings if one["verdict"] == verdict]

    def done(self, name: str) -> str:
        return "; ".join(self.of(name)["done"] or ())

    def of(self, name: str) -> dict[str, Any]:
        (found,) = [one for one in self.findings if one["name"] == name]
        return found


def doctor(site: Site, *options: str) -> Seen:
    done = site.run("doctor", "--json", *options, check=False)
    assert "--fix" in options or done.stderr == ""
    return Seen(json.loads(done.stdout), done.returncode)


class Home:
    """A user's configuration and directory, looked at in this process."""

    def __init__(self, root: Path, engine: Engine | None = None) -> None:
        self.engine = engine
        self.config = root / "config.yaml"
        self.general: dict[str, Any] = {"user_dir_base": str(root / "state")}
        self.apps: dict[str, Any] = {}
        self.write()

    @property
    def directory(self) -> Path:
        return Broker(load(self.config)).directory

    @property
    def registry(self) -> Registry:
        return Broker(load(self.config)).registry

    def write(self, **general: Any) -> None:
        self.general |= general
        self.config.write_text(yaml.safe_dump({"general": self.general, "apps": self.apps}))

    def look(self, name: str) -> Finding:
        (look,) = [look for look in examine(self._subject()) if look.name == name]
        return look

    def mend(self, name: str) -> Repair:
        """Mend what a look finds, which it has to say that it can, and nothing else."""
        found = self.look(name)
        assert found.fixable, found
        (repair,) = mend(self._subject(), [found])
        return repair

    def _subject(self) -> Subject:
        return Subject(self.config, given_engine=self.engine)

    def record(self, port: int, **values: Any) -> Job:
        """Put a job on record."""
        job = Job(
            **{
                "job_id": f"job_{port}",
                "app": "demo",
                "port": str(port),
                "protocol": "https",
                "host": "test-pc",
                "owner": "test",
                "job_root": f"{self.directory}/",
                "status": "launched",
                "creation_timestamp": int(time.time()),
                **values,
            }
        )
        self.registry.put(job)
        return job

    def certify(self, port: int, *, days_ago: int = 0) -> str:
        """Write a key and a certificate of a job, as of a day in the past; return what tells it."""
        directory = self.directory
        script = (
            "import sys; from pathlib import Path; from jobctl import certs\n"
            "own = certs.Subjects.of(['localhost'], ['127.0.0.1'])\n"
            "pair = certs.issue_leaf(certs.issue_authority('test', own), own, common_name='test')\n"
            "for end, data in (('.crt', pair.certificate), ('.key', pair.key)):\n"
            "    Path(sys.argv[1] + end).write_bytes(data)\n"
        )
        in_the_past(days_ago, [sys.executable, "-c", script, f"{directory}/job_{port}"])
        return certs.fingerprint((directory / f"job_{port}.crt").read_bytes())


def in_the_past(days: int, command: Sequence[str | Path]) -> None:
    """Run a program that believes to be so many days ago, or with less than none, ahead."""
    shifted = ["faketime", "-f", f"{-days:+d}d", *command] if days else command
    subprocess.run(shifted, check=True, cwd=PROJECT)


def modes(directory: Path) -> dict[str, tuple[str, int, bytes]]:
    """Return the mode, owner and contents of the files of a directory."""
    return {
        path.name: (oct(path.lstat().st_mode & 0o777), path.lstat().st_uid, path.read_bytes())
        for path in directory.iterdir()
        if path.is_file() and not path.is_symlink()
    }
