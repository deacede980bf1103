"""Where the secrets of jobs must not be: asked of the host, the engine and jobctl's own output.

The secrets are the password, its hash, and the private keys of the job and of the authority, in
every form that is as good. Each of these jobs keeps its password in another way.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.processes import Watch
from tests.site import Site

pytestmark = pytest.mark.engine

GIVEN = "correct horse, grün & battery"
SHORTEST = 16
"""Of the lines of a key: what is shorter may be elsewhere by chance."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """How to launch; ``password`` is what goes to standard input, else one is made up."""

    arguments: tuple[str, ...]
    password: str | None = None


CASES = {
    "generated": Case(arguments=("conduit",)),
    "given": Case(arguments=("conduit",), password=GIVEN),
    "bcrypt": Case(arguments=("conduit", "--set", "hash_algorithm=bcrypt")),
    "jupyter": Case(arguments=("jupyter",)),
    "tensorboard": Case(arguments=("tensorboard",)),
}


@dataclass
class Launched:
    """A job, what ``run`` said, and the job's secrets by what to call them."""

    job: dict[str, Any]
    out: str
    err: str
    password: str
    secrets: dict[str, str] = field(repr=False)


def lines_of_key(path: Path) -> list[str]:
    lines = path.read_text().splitlines()
    return [line for line in lines if len(line) >= SHORTEST and not line.startswith("-----")]


def secrets_of(site: Site, job: dict[str, Any], password: str) -> dict[str, str]:
    """Return every form of every secret of a job, with what to call it."""
    (line,) = [
        record["password_hash"]
        for record in site.run_json("broker", "-q")
        if record["job_id"] == job["job_id"]
    ]
    credentials = base64.b64encode(f"{job['owner']}:{password}".encode()).decode()
    found = {password: "password", quote(password): "password, quoted", credentials: "password"}
    found |= {json.dumps(password)[1:-1]: "password, as JSON"}
    # The digest's A1, or what follows the `$` of a slow hash, salt and all.
    found |= {line: "hash", line.rpartition(":")[2]: "hash", line.rpartition("$")[2]: "hash"}
    for name in ("ca.key", f"{job['job_id']}.key"):
        found |= dict.fromkeys(lines_of_key(site.directory / name), name)
    return found


def launched(site: Site, case: Case) -> Launched:
    how = "--password-stdin" if case.password else "--generate-password"
    done = site.run("run", *case.arguments, how, stdin=case.password or "")
    job_id = done.stdout.split()[0]
    job = site.run_json("inspect", job_id, "--json")
    said = [line.split()[1] for line in done.stdout.splitlines() if "password  " in line]
    password = case.password or said[0]
    return Launched(job, done.stdout, done.stderr, password, secrets_of(site, job, password))


@dataclass
class Scene:
    """What was launched, and the processes that there were meanwhile."""

    site: Site
    jobs: dict[str, Launched]
    watch: Watch
    since: float

    @property
    def secrets(self) -> dict[str, str]:
        return {
            secret: f"{what} of {name}"
            for name, one in self.jobs.items()
            for secret, what in one.secrets.items()
        }

    def told_by(self, *texts: str | bytes) -> set[str]:
        """Return which secrets stand in a text."""
        data = [text.encode() if isinstance(text, str) else text for text in texts]
        return {
            what
            for secret, what in self.secrets.items()
            if any(secret.encode() in text for text in data)
        }


@pytest.fixture(scope="module")
def scene(shared_site: Site) -> Scene:
    """Launch every case, stop one and start it again, under permanent observation."""
    since = time.time()
    with Watch().going_on() as watch:
        subprocess.run(["sleep", "0.1"], env={"CANARY": "seen"}, check=True)
        with ThreadPoolExecutor(2) as pool:
            found = pool.map(lambda case: launched(shared_site, case), CASES.values())
            jobs = dict(zip(CASES, found, strict=True))
        shared_site.run("stop", jobs["generated"].job["job_id"])
        shared_site.run("start", jobs["generated"].job["job_id"])
    return Scene(shared_site, jobs, watch, since)


def test_the_secrets_are_known_to_the_test(scene: Scene) -> None:
    """What is looked for is there, where it belongs."""
    for name, one in scene.jobs.items():
        root = f"{scene.site.directory}/{one.job['job_id']}"
        kept = (
            Path(one.job["config"] or f"{root}_htpasswd").read_text()
            + Path(f"{root}.key").read_text()
        )
        assert {f"hash of {name}", f"{one.job['job_id']}.key of {name}"} <= scene.told_by(kept)
    assert b"CANARY=seen\0" in scene.watch.seen
    assert len({one.password for one in scene.jobs.values()}) == len(CASES)


def test_no_process_ever_had_one_in_its_command_line_or_environment(scene: Scene) -> None:
    scene.watch.look()
    commands = b"".join(scene.watch.seen)

    assert b"conduit_relay" in commands
    assert b"lighttpd" in commands
    assert scene.told_by(commands) == set()


def output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


def test_the_engine_tells_none(scene: Scene) -> None:
    containers = [name for one in scene.jobs.values() for name in one.job["container_ids"]]
    facts = output("docker", "inspect", *containers)
    images = {entry["Image"] for entry in json.loads(facts)}

    assert "jobctl.tls_fingerprint" in facts
    assert scene.told_by(facts, output("docker", "image", "inspect", *images)) == set()
    for image in images:
        assert scene.told_by(output("docker", "history", "--no-trunc", image)) == set()


def test_the_engine_s_own_files_hold_none(scene: Scene) -> None:
    """Logs, configurations, volumes: which only root may read, and root runs this in CI."""
    if os.getuid() != 0:
        pytest.skip("only root can read the engine's files")
    read = 0
    for container in (name for one in scene.jobs.values() for name in one.job["container_ids"]):
        (facts,) = json.loads(output("docker", "inspect", container))
        volumes = [mount["Source"] for mount in facts["Mounts"] if mount["Type"] == "volume"]
        layer = facts["GraphDriver"]["Data"]["UpperDir"]
        for place in (str(Path(facts["LogPath"]).parent), layer, *volumes):
            for path in Path(place).rglob("*"):
                if path.is_file() and not path.is_symlink():
                    read += 1
                    assert scene.told_by(path.read_bytes()) == set(), path

    assert read > 2 * len(scene.jobs)


def test_logs_tell_none(scene: Scene) -> None:
    for name, one in scene.jobs.items():
        gateway = [] if name == "jupyter" else [["--gateway"]]
        for options in ([], *gateway):
            done = scene.site.run("logs", one.job["job_id"], *options)
            assert scene.told_by(done.stdout, done.stderr) == set()


def test_a_generated_password_is_shown_once_and_a_given_one_never(scene: Scene) -> None:
    for name, one in scene.jobs.items():
        shown = one.out.count(one.password)
        assert shown == (0 if CASES[name].password else 1)
        rest = one.out.replace(one.password, "")
        assert scene.told_by(rest, one.err, json.dumps(one.job)) == set()


def test_no_command_tells_one_unless_it_is_asked_to(scene: Scene) -> None:
    site = scene.site
    ids = {name: scene.jobs[name].job["job_id"] for name in ("generated", "bcrypt", "jupyter")}
    commands = [
        *(["ps"], ["ps", "--json"], ["ps", "--all-users", "--json"], ["client", "-q"]),
        *(["apps"], ["images", "ls"], ["config", "show"], ["url", ids["jupyter"]]),
        *(["inspect", job] for job in ids.values()),
        *(["inspect", job, "--json"] for job in ids.values()),
    ]
    for command in commands:
        done = site.run(*command)
        assert scene.told_by(done.stdout, done.stderr) == set(), command
    for name, job in ids.items():
        assert scene.told_by(site.run("inspect", job, "--reveal").stdout) == {f"hash of {name}"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("jupyter", "--set", "command=false"),
        ("jupyter", "--set", "command=[cat, '{job_root}{job_id}_config.py']"),
        ("conduit", "--set", "cap_add=[NO_SUCH]"),
        ("conduit", "--mount", "/nowhere:/mnt"),
    ],
)
@pytest.mark.parametrize("debug", [[], ["--debug"]], ids=["", "debug"])
def test_a_launch_that_fails_tells_none(
    scene: Scene, arguments: tuple[str, ...], debug: list[str]
) -> None:
    password = "Tr0ub4dor&3 is known"

    done = scene.site.run(
        *debug, "run", *arguments, "--password-stdin", stdin=password, check=False
    )

    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert password not in said
    assert "argon2id" not in said
    assert "PRIVATE KEY" not in said
    assert scene.told_by(said) == set()


def test_files_with_secrets_are_the_owner_s_alone(scene: Scene) -> None:
    """Below the home, where anything may be; and what appeared where programs leave things."""
    told = set()
    for path in scene.site.root.rglob("*"):
        if path.is_file() and not path.is_symlink() and scene.told_by(path.read_bytes()):
            told.add(path.name)
            assert path.stat().st_mode & 0o777 == 0o600, path
            assert path.parent == scene.site.directory
    assert scene.site.directory.stat().st_mode & 0o777 == 0o700
    assert {"ca.key", "connections.txt"} <= told

    for place in ("/tmp", "/var/tmp", "/dev/shm"):  # noqa: S108
        for path in Path(place).iterdir():
            if path.is_file() and path.stat().st_mtime >= scene.since:
                assert scene.told_by(path.read_bytes()) == set(), path
