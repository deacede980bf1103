"""Many jobs by one command: each verified and with what is its own, handed out to nobody else."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from threading import Barrier, Event, Thread
from typing import Any

import pytest
import requests
from requests.auth import HTTPDigestAuth

from jobctl import arrays, batch, certs
from jobctl.broker import Broker
from jobctl.config import load
from jobctl.engines.docker import DockerEngine
from jobctl.errors import ClaimLost, UsageError
from jobctl.orders import Order
from tests.bad_input import CommandLine
from tests.forwarding import plain_port
from tests.site import PROJECT, Site
from tests.test_cli import python_app
from tests.test_faults_crowds import among, held
from tests.wholeness import PASSWORD, put_right, serves

MANY = ("run", "conduit", "--count")


def class_file(path: Path) -> list[dict[str, str]]:
    """Return the rows of what is handed out as CSV."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def passwords_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return the passwords of jobs, by id."""
    return {row["job_id"]: row["password"] for row in rows}


def status(site: Site, row: Mapping[str, Any], password: str) -> int:
    """Return what a client gets with a password who trusts the user's authority only."""
    auth = HTTPDigestAuth(row["user"], password)
    return requests.get(row["url"], auth=auth, verify=site.authority(), timeout=20).status_code


def data(site: Site, *numbers: int) -> None:
    """Put data files with numbers where commands are run."""
    for number in numbers:
        sample = PROJECT / "images/conduit/sample/mesh.json"
        shutil.copy(sample, site.state.parent / f"data_{number}.json")


def on_the_engine(site: Site) -> str:
    """Return all that the engine tells of a site's containers, and what they wrote."""
    ids = [container.id for container in site.containers()]
    said = [subprocess.run(["docker", "inspect", *ids], capture_output=True, check=True)]
    said += [subprocess.run(["docker", "logs", one], capture_output=True) for one in ids]
    return "".join((one.stdout + one.stderr).decode() for one in said)


@pytest.mark.engine
def test_a_class(site: Site) -> None:
    """Everybody has a port, a certificate, a password and data, and the file says which."""
    data(site, 1, 2, 3, 4)
    path = site.root / "class.csv"
    words = ["--generate-password", "--hand-out", "../class.csv", "--env", "A=of-{number}"]

    done = site.run(*MANY, "4", *words, "--", "data_{number}.json")

    # Before another command, which would make it anew if the host got another address meanwhile.
    authority = (site.directory / "ca.crt").read_bytes()
    rows = class_file(path)
    jobs = put_right(site, passwords=passwords_of(rows))
    assert path.stat().st_mode & 0o777 == 0o600
    assert [row["number"] for row in rows] == ["1", "2", "3", "4"]
    for key in ("job_id", "url", "open_url", "password", "tls_fingerprint"):
        assert len({row[key] for row in rows}) == 4, key
    for row, neighbour in zip(rows, rows[1:] + rows[:1], strict=True):
        job = jobs[row["job_id"]]
        shown = [job[key] for key in ("url", "open_url", "owner", "tls_fingerprint")]
        assert [row[k] for k in ("url", "open_url", "user", "tls_fingerprint")] == shown
        assert status(site, row, row["password"]) == 200
        assert status(site, row, neighbour["password"]) == 401
    assert {row["ca_fingerprint"] for row in rows} == {certs.fingerprint(authority)}
    told = on_the_engine(site)
    for row in rows:
        container = site.engine.details(jobs[row["job_id"]]["container_ids"][-1])
        assert container
        assert container.command[-1] == f"data_{row['number']}.json"
        assert {f"JOBCTL_NUMBER={row['number']}", "JOBCTL_COUNT=4"} <= set(environment(row))
        assert f"A=of-{row['number']}" in environment(row)
        assert row["password"] not in told + done.stdout + done.stderr
        written = b"".join(file.read_bytes() for file in site.directory.iterdir())
        assert row["password"].encode() not in written
    head, *lines = done.stdout.splitlines()
    assert head.split() == ["NUMBER", "JOB", "URL", "USER"]
    assert [line.split()[1] for line in lines] == [row["job_id"] for row in rows]
    assert "4 of 4 jobs" in done.stderr

    again = site.run(*MANY, "2", "--generate-password", "--hand-out", "../class.csv", check=False)
    assert (again.returncode, again.stdout) == (1, "")
    assert "is there already" in again.stderr
    assert class_file(path) == rows
    # What a job was launched with, it is started with.
    first = rows[0]
    site.run("stop", first["job_id"])
    site.run("start", first["job_id"])
    assert status(site, first, first["password"]) == 200
    assert f"A=of-{first['number']}" in environment(first)


def environment(row: dict[str, str]) -> list[str]:
    """Return the variables of a job's app."""
    command = ["docker", "inspect", "--format", "{{json .Config.Env}}"]
    done = subprocess.run(
        [*command, f"jobctl-{row['job_id']}-app"], capture_output=True, check=True
    )
    found: list[str] = json.loads(done.stdout)
    return found


@pytest.mark.engine
def test_as_json_with_one_password_for_all(site: Site) -> None:
    """A password that was given is known: it is written nowhere."""
    words = ["--password-stdin", "--json", "--hand-out", "../class.json"]

    done = site.run(*MANY, "2", *words, stdin=f"{PASSWORD}\n")

    jobs = put_right(site)
    printed = json.loads(done.stdout)
    handed_out = json.loads((site.root / "class.json").read_text())
    assert [job["number"] for job in printed] == [1, 2]
    for job, row in zip(printed, handed_out, strict=True):
        number = job.pop("number")
        assert job == jobs[job["job_id"]]
        assert (row["number"], row["job_id"], row["password"]) == (number, job["job_id"], None)
        assert serves(site, job)
    assert PASSWORD not in done.stdout + done.stderr + on_the_engine(site)


@pytest.mark.engine
def test_one_of_many_is_an_array_too(site: Site) -> None:
    (job,) = site.run_json(*MANY, "1", "--generate-password", "--json")
    table = site.run(*MANY, "1", "--generate-password").stdout

    assert job["number"] == 1
    number, job_id, url, user, password = table.splitlines()[1].split()
    shown = put_right(site, passwords=passwords_of([job]) | {job_id: password})[job_id]
    assert (number, url, user) == ("1", shown["open_url"], shown["owner"])


@pytest.mark.engine
def test_more_jobs_than_free_ports(site: Site) -> None:
    """Those that get a port keep it; the others say who has the rest. Or all is undone."""
    ports = among(site, 4)
    words = ["--generate-password", "--json", "--hand-out", "../class.csv", "--parallel", "4"]
    with held(ports[1:3]):
        none = site.run(*MANY, "4", *words, "--all-or-none", check=False)
        assert (none.returncode, none.stdout) == (1, "")
        assert "failed, so that none was launched: no port is free in" in none.stderr
        assert put_right(site, held=ports[1:3]) == {}
        assert not (site.root / "class.csv").exists()

        some = site.run(*MANY, "4", *words, check=False)
        assert some.returncode == 1
        printed = json.loads(some.stdout)
        jobs = put_right(site, held=ports[1:3], passwords=passwords_of(printed))
        assert sorted(jobs) == sorted(job["job_id"] for job in printed)
        assert len(printed) == 2
        handed_out = class_file(site.root / "class.csv")
        assert [row["job_id"] for row in handed_out] == [job["job_id"] for job in printed]
        assert "2 of 4 jobs were not launched:\nnumber " in some.stderr
        assert some.stderr.count("no port is free") == 1, "the same reason is given once"
        assert f"{ports[1]}: " in some.stderr


FOURTH_ENDS = """
import http.server, os, sys
sys.exit("not me") if os.environ["JOBCTL_NUMBER"] == "{number}" == "4" else None
http.server.test(http.server.SimpleHTTPRequestHandler, port=9001, bind="127.0.0.1")
"""


@pytest.mark.engine
@pytest.mark.parametrize("together", [False, True])
def test_an_app_that_ends_for_one_number(site: Site, together: bool) -> None:
    python_app(site, "picky", app_port=9001)
    words = ["picky", "--generate-password", *(["--all-or-none"] if together else [])]

    done = site.run("run", *words, "--count", "5", "--", "-c", FOURTH_ENDS, check=False)

    assert done.returncode == 1
    rows = [line.split() for line in done.stdout.splitlines()[1:]]
    jobs = put_right(site, passwords={row[1]: row[-1] for row in rows})
    assert "picky exited (1) while starting" in done.stderr
    assert "the last lines of its log:\nnot me" in done.stderr
    assert len(jobs) == (0 if together else 4)
    assert [row[0] for row in rows] == ([] if together else ["1", "2", "3", "5"])
    assert {row[1] for row in rows} == set(jobs)
    assert ("number 4 of 5 failed" if together else "\nnumber 4: ") in done.stderr


@pytest.mark.engine
def test_all_together(site: Site) -> None:
    """More than are begun at a time, each of which waits for the others."""
    words = ["--parallel", "1", "--all-or-none", "--password-stdin"]

    site.run(*MANY, "3", *words, stdin=f"{PASSWORD}\n")

    assert [job["status"] for job in put_right(site).values()] == ["launched"] * 3


@pytest.mark.engine
def test_from_a_program(site: Site, engine: DockerEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outcomes come as they do and are returned in order; reports come from one thread."""
    monkeypatch.setenv("XDG_STATE_HOME", str(site.state))
    told: list[str] = []
    came: list[batch.Outcome] = []
    desk = Broker(load(site.config), report=told.append, given_engine=engine)
    orders = [
        Order(app="conduit", password=PASSWORD, directory=site.root),
        Order(app="conduit", password="", directory=site.root),
        Order(app="conduit", password="another one", directory=site.root),
    ]

    outcomes = desk.run_many(orders, parallel=3, arrived=came.append)

    assert [one.number for one in outcomes] == [1, 2, 3]
    assert [one.job is not None for one in outcomes] == [True, False, True]
    assert "the password is empty" in str(outcomes[1].error)
    assert sorted(came, key=lambda one: one.number) == outcomes
    assert PASSWORD not in repr(outcomes)
    last = outcomes[-1].job
    assert last
    jobs = put_right(site, passwords={last.job_id: "another one"})
    assert set(jobs) == {one.job.job_id for one in outcomes if one.job}
    assert "number 1: verifying" in told


@pytest.mark.engine
@pytest.mark.parametrize("tcp", [False, True])
def test_as_many_connections_as_launches(
    engine: DockerEngine, caplog: pytest.LogCaptureFixture, tcp: bool
) -> None:
    """Of those that the SDK's library can't keep, it would warn on standard error."""
    assert engine.local_socket
    all_there = Barrier(batch.MOST_AT_ONCE)
    with plain_port(engine.local_socket) if tcp else nullcontext(engine.endpoint) as endpoint:
        client = DockerEngine(endpoint)

        def ask() -> None:
            all_there.wait()
            client.version()
            client.containers()

        at_once([ask] * batch.MOST_AT_ONCE)
        client.close()

    assert caplog.messages == []


# Without an engine


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--count", "0"], "--count 0: expected a number from 1 on"),
        (["--count", "-3"], "--count -3: expected a number"),
        (["--count", "2", "--port", "8000"], "--port is for one job; leave it out, or --count"),
        (["--count", "2", "--attach"], "--attach follows one job; leave it out, or --count"),
        (["--count", "2", "--parallel", "0"], "0 launches at once: expected 1 to 32"),
        (["--count", "9999"], r"9999 jobs need as many ports.*\(8000-10000\); widen it"),
        (["--count", "2", "--env", "A={number:x}"], r'"\{number:x\}" in .*expected \{number\}'),
        (["--count", "2", "--hand-out", "class.txt"], r"ends with \.csv or \.json"),
        (["--parallel", "2"], "--parallel is for several jobs; add --count N"),
        (["--all-or-none"], "--all-or-none is for several jobs; add --count N"),
        (["--hand-out", "class.csv"], "--hand-out is for several jobs; add --count N"),
        (["--count", "2", "--bind", "here"], '"here" is no address'),
    ],
)
def test_what_does_not_go_together(command_line: CommandLine, words: list[str], says: str) -> None:
    before = sorted(command_line.root.iterdir())

    outcome = command_line.run("run", "demo", "--generate-password", *words)

    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("jobctl: ")
    assert re.search(says, outcome.err), outcome.err
    assert sorted(command_line.root.iterdir()) == before


@pytest.mark.parametrize(
    ("keys", "words", "hand_out"),
    [
        ({"mount_cwd": "ro"}, [], "class.csv"),
        ({"mount_cwd": "rw"}, [], "below/class.csv"),
        ({"mounts": ["/{directory}:/in"]}, [], "class.csv"),
        ({"mounts": ["/elsewhere:/out", "/{directory}/below/{job_id}:/in"]}, [], "link/class.csv"),
        ({}, ["--mount", "{here}/below:/in"], "below/class.csv"),
    ],
)
def test_no_job_has_what_is_handed_out(
    command_line: CommandLine, keys: dict[str, Any], words: list[str], hand_out: str
) -> None:
    """They run as the caller, to whom the file belongs."""
    (command_line.root / "below").mkdir()
    (command_line.root / "link").symlink_to("below")
    section = {"image": "app", "server_path": "/bin/demo", **keys}
    command_line.config.write_text(json.dumps({"apps": {"demo": section}}))
    words = [word.replace("{here}", str(command_line.root)) for word in words]

    outcome = command_line.run(
        *("run", "demo", "--generate-password", "--count", "2", "--hand-out", hand_out), *words
    )

    assert (outcome.code, outcome.out) == (2, "")
    assert f"{hand_out} is not for the jobs to read, and they have" in outcome.err
    assert f"such as {command_line.directory}/class.csv" in outcome.err
    assert list(command_line.root.rglob("class.csv")) == []
    assert command_line.engine.containers() == []


def test_nobody_to_ask_is_told_before_anything_is_done(command_line: CommandLine) -> None:
    outcome = command_line.run("run", "demo", "--count", "3", "--hand-out", "../class.csv")

    assert outcome.code == 2
    assert "use --generate-password or --password-stdin" in outcome.err
    assert not (command_line.root / "class.csv").exists()


def test_one_password_for_all_is_asked_for_once(command_line: CommandLine) -> None:
    asked = Counter[str]()

    def ask() -> str:
        asked["asked"] += 1
        return PASSWORD

    desk = Broker(load(command_line.config), given_engine=command_line.engine)
    orders = arrays.numbered(Order(app="demo", ask=ask), 3)
    launches = [desk._launch_of(one) for one in arrays.preparations(orders, desk._preparation)]

    lines = [launch.password_line for launch in arrays.protected(launches)]

    assert asked == {"asked": 1}
    assert len(set(lines)) == 1
    assert lines[0]


def test_an_order_with_a_port_is_for_one_job() -> None:
    with pytest.raises(UsageError, match="port 8000 is for one job alone"):
        arrays.check([Order(app="demo", port=8000)], (8000, 9000))
    with pytest.raises(UsageError, match="nothing to launch"):
        arrays.check([], (8000, 9000))


def test_each_port_is_tried_once_and_again_when_it_got_free() -> None:
    looks = iter([[1, 2, 3], [2]])

    def look() -> Iterator[int]:
        yield from next(looks)
        raise ClaimLost("no port is free; widen the range")

    ports = batch._Ports(look)
    seen: list[Any] = []

    def take() -> None:
        try:
            seen.append(next(ports))
        except ClaimLost as error:
            seen.append(str(error))

    at_once([take] * 6)

    assert sorted(one for one in seen if isinstance(one, int)) == [1, 2, 2, 3]
    assert [one for one in seen if isinstance(one, str)] == ["no port is free; widen the range"] * 2


def at_once(acts: list[Callable[[], None]]) -> None:
    """Do some things each in a thread, none before all are there."""
    begin = Event()
    threads = [Thread(target=lambda act=act: begin.wait() and act()) for act in acts]
    for thread in threads:
        thread.start()
    begin.set()
    for thread in threads:
        thread.join()


def test_modules_are_called_one_at_a_time(tmp_path: Path) -> None:
    """They may keep things in globals; and the umask that they write under is the process's."""
    from jobctl import apps

    module = tmp_path / "demo_module.py"
    module.write_text(
        "import os, time\n"
        "from jobctl.helpers import gen_cert, get_launch_cmd, get_password\n"
        "inside, seen = 0, []\n"
        "def gen_config(job):\n"
        "    global inside\n"
        "    inside += 1\n"
        "    time.sleep(0.01)\n"
        "    seen.append((inside, os.umask(0o077)))\n"
        "    inside -= 1\n"
    )
    (tmp_path / "config.yaml").write_text("apps: {demo: {image: x, app_module_path: .}}\n")
    app = apps.load("demo", load(tmp_path / "config.yaml"))

    def call() -> None:
        app.gen_config({})

    at_once([call] * 8)

    assert app.module.seen == [(1, 0o077)] * 8
