"""Records, updates and labels that nobody means well with, or that a newer version wrote."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobctl.cli import listings, render
from jobctl.errors import JobctlError
from jobctl.job import KEYS, from_dict, is_job_id, job_id_of, to_dict
from jobctl.labels import job_from, labels_of
from jobctl.locks import Locks
from jobctl.registry import Registry
from tests.bad_input import (
    FORGED_ROW,
    MD5,
    RAW,
    WINDOW_TITLE,
    CommandLine,
    a_job,
    anything,
    encodable,
    json_values,
    nasty,
    nothing_outside,
    text,
    well_behaved,
    whole_commands,
)
from tests.fake_engine import FakeEngine
from tests.test_ledger import spec

LOOKS = [
    *(["ps", "-a"], ["ps", "-a", "--json"], ["ps", "-q"], ["broker", "-q"], ["logs", "8123"]),
    *(["ps", "--all-users"], ["ps", "--all-users", "--json"], ["inspect", "8123"]),
    *(["inspect", "8123", "--json"], ["url", "8123"], ["stop", "8123"], ["rm", "-f", "8123"]),
    ["broker", "-r", "-a", "demo", "-p", MD5],
]

some_key = st.one_of(st.sampled_from(KEYS), encodable)
objects = st.one_of(
    st.dictionaries(some_key, json_values, max_size=4),
    st.dictionaries(some_key, json_values, max_size=4).map(lambda one: to_dict(a_job()) | one),
)


@pytest.fixture
def registered(command_line: CommandLine) -> dict[str, Any]:
    """Return a job that is prepared, as it is on record."""
    made = command_line.run("broker", "-r", "-a", "demo", "-p", MD5)
    job: dict[str, Any] = json.loads(made.out)
    return job


# Job ids


@given(word=text)
@example(word="job_8000\n")
@example(word="job_\uff18\uff10\uff10\uff10")
def test_a_job_id_is_one_or_is_refused(word: str) -> None:
    try:
        job_id = job_id_of(word)
    except JobctlError:
        assert not is_job_id(word)
    else:
        assert word in (job_id, job_id.removeprefix("job_"))
        assert job_id.isascii()
        assert "/" not in job_id


# connections.txt


@given(lines=st.lists(st.one_of(objects.map(msgspec.json.encode), st.binary(max_size=40))))
def test_no_line_is_ever_lost(registry: Registry, lines: list[bytes]) -> None:
    """It is a job, or it is kept aside as it is."""
    for path in registry.path.parent.iterdir():
        path.unlink()
    registry.path.write_bytes(b"\n".join(lines))
    jobs = registry.read()

    with registry.edit():
        pass

    assert registry.read() == jobs
    aside = [path.read_bytes() for path in registry.path.parent.glob("*.damaged-*")]
    kept = b"\n".join(aside).split(b"\n")
    for one in b"\n".join(lines).split(b"\n"):
        try:
            job = from_dict(msgspec.json.decode(one, type=dict))
        except (ValueError, RecursionError, JobctlError):
            assert one in kept
        else:
            assert job.job_id in jobs


@given(values=objects)
@example(values={"port": "job_8000"})
@example(values={"pid": 10**30})
@example(values={"extra": {"extra": 1}})
def test_a_job_goes_through_a_line_and_back(values: dict[str, Any]) -> None:
    try:
        job = from_dict(to_dict(a_job()) | values)
    except JobctlError:
        return

    line = msgspec.json.encode(to_dict(job))

    assert b"\n" not in line
    assert from_dict(msgspec.json.decode(line)) == job
    assert int(job.port) > 0


newer = st.dictionaries(
    encodable.filter(lambda key: key not in KEYS), json_values, min_size=1, max_size=3
)


@given(further=newer, status=encodable, intent=encodable)
def test_what_a_newer_version_wrote_is_kept_and_shown(
    command_line: CommandLine, further: dict[str, Any], status: str, intent: str
) -> None:
    """Unknown keys, statuses and intents; whatever else is done with the job meanwhile."""
    command_line.clear()
    newer = to_dict(a_job(status=status, intent=intent)) | further
    registry = Registry(command_line.directory, Locks(command_line.directory))
    registry.path.write_bytes(msgspec.json.encode(newer) + b"\n")

    registry.put(registry.read()["job_8000"].with_(restarts=1))

    (kept,) = map(msgspec.json.decode, registry.path.read_bytes().splitlines())
    assert kept == newer | {"restarts": 1}
    shown = to_dict(registry.read()["job_8000"])
    assert (shown["status"], shown["intent"]) == (status, intent)
    assert further.items() <= shown.items()


@pytest.mark.parametrize(
    ("key", "value"), [("restarts", "many"), ("pid", [1]), ("port", 8000), ("relaxed", {"a": 1})]
)
def test_a_line_with_a_type_of_a_newer_version_is_kept_aside(
    command_line: CommandLine, key: str, value: object
) -> None:
    newer = msgspec.json.encode(to_dict(a_job()) | {key: value})
    records = command_line.directory / "connections.txt"
    records.write_bytes(newer + b"\n")

    well_behaved(command_line.run("ps"))

    (aside,) = command_line.directory.glob("connections.txt.damaged-*")
    assert aside.read_bytes() == newer + b"\n"


# broker -u


updates = st.one_of(
    objects.map(lambda one: json.dumps({"job_id": "job_8000", **one})),
    objects.map(lambda one: json.dumps({**one, "job_id": "job_8000", "port": "8000"})),
    newer.map(lambda one: json.dumps({"job_id": "job_8000", **one}, ensure_ascii=False)),
    anything.map(lambda one: json.dumps(one, default=str, skipkeys=True)),
    st.text(max_size=30),
)


@given(update=updates.filter(lambda update: "\0" not in update))
@example(update='{"job_id": "job_8000", "note": NaN}')
@example(update='{"job_id": "job_8000", "note": "\\ud800"}')
@example(update='{"job_id": "job_8000", "note": ' + "9" * 5000 + "}")
@example(update='{"job_id": "job_8000", "note": ' + "[" * 500 + "]" * 500 + "}")
@example(update="[" * 5000)
@example(update='{"job_id": "job_8000", "port": "job_8000"}')
@example(update='{"job_id": "job_8000", "pid": 1000000000000000000000000000000}')
@example(update='{"job_id": "job_8000", "note": "\x7f\x9b31m\u202e"}')
@whole_commands
def test_any_update_is_taken_or_refused_and_the_record_stays_whole(
    command_line: CommandLine, registered: dict[str, Any], update: str
) -> None:
    records = command_line.directory / "connections.txt"
    records.write_bytes(msgspec.json.encode(registered) + b"\n")
    update = update.replace("job_8000", registered["job_id"])
    with nothing_outside(command_line.directory, command_line.root):
        outcome = command_line.run("broker", "-u", update)
    well_behaved(outcome)
    (line,) = map(msgspec.json.decode, records.read_bytes().splitlines())
    if outcome.code == 0:
        assert json.loads(outcome.out) == line
    else:
        assert line == registered
    job = from_dict(line)
    table = listings.jobs().text([job], listings.Output.TABLE)
    for shown in (render.record(job), table, render.jobs_json([job])):
        assert not RAW.search(shown)
    assert list(command_line.directory.glob("*.damaged-*")) == []


# Labels


label_values = st.one_of(
    nasty, st.text(max_size=20), st.sampled_from(["8000", "gateway", "app", WINDOW_TITLE])
)
label_names = st.one_of(
    st.sampled_from([f"jobctl.{key}" for key in (*KEYS, "role", "created", "extra", "newer")]),
    encodable.map(lambda name: f"jobctl.{name}"),
    encodable,
)


@given(
    labels=st.dictionaries(label_names, label_values, max_size=4),
    missing=st.sampled_from(["", *labels_of(a_job(), "app")]),
)
@example(labels={"jobctl.app": FORGED_ROW}, missing="")
@example(labels={"jobctl.created": "9" * 5000}, missing="")
@example(labels={"jobctl.created": "9" * 4000}, missing="")
@example(labels={"jobctl.password_hash": "x", "jobctl.intent": "remove"}, missing="")
def test_any_labels_are_a_job_or_none(labels: dict[str, str], missing: str) -> None:
    given = labels_of(a_job(), "gateway") | labels
    given.pop(missing, None)
    try:
        job = job_from(given)
    except JobctlError:
        return
    assert from_dict(msgspec.json.decode(msgspec.json.encode(to_dict(job)))) == job
    assert (job.password_hash, job.intent, job.container_ids, job.pid) == (None, None, [], None)
    shown = [job.app, job.owner, job.url, job.host, job.job_root, job.image, *job.extra]
    assert all(one.isprintable() or " " in one or "\u00a0" in one for one in shown if one.isascii())
    assert all(job.extra[name] == given[name] for name in job.extra)
    unknown = {
        name
        for name in given
        if name.startswith("jobctl.") and name.removeprefix("jobctl.") not in KEYS
    }
    assert set(job.extra) == unknown - {"jobctl.role", "jobctl.created", "jobctl.build"}


forged = st.fixed_dictionaries(
    {},
    optional={
        f"jobctl.{key}": label_values
        for key in ("app", "owner", "url", "status", "host", "image", "created", "port", "role")
    },
)


@given(
    labels=forged,
    port=st.sampled_from([8000, 8123]),
    looks=st.lists(st.sampled_from(LOOKS), min_size=1, max_size=2),
    parts=st.sampled_from([("",), ("-app",), ("", "-app")]),
    state=st.sampled_from(["created", "running"]),
    lost=st.booleans(),
)
@example(
    labels={"jobctl.app": FORGED_ROW},
    port=8123,
    looks=LOOKS,
    parts=("", "-app"),
    state="running",
    lost=True,
)
@example(
    labels={"jobctl.owner": WINDOW_TITLE},
    port=8123,
    looks=LOOKS,
    parts=("",),
    state="running",
    lost=True,
)
@example(
    labels={"jobctl.url": "x" * 8000},
    port=8123,
    looks=LOOKS,
    parts=("", "-app"),
    state="running",
    lost=True,
)
@whole_commands
def test_containers_that_claim_to_be_of_a_job_of_ours(
    command_line: CommandLine,
    registered: dict[str, Any],
    labels: dict[str, str],
    port: int,
    looks: list[list[str]],
    parts: tuple[str, ...],
    state: str,
    lost: bool,
) -> None:
    """Anybody who reaches the engine may label containers, with our directory say.

    With ``lost``, they even pass for a job of ours whose record is lost.
    """
    if lost:
        (command_line.directory / "job_8123.crt").touch()
    records = command_line.directory / "connections.txt"
    records.write_bytes(msgspec.json.encode(registered) + b"\n")
    port = int(registered["port"]) if port == 8000 else port
    files = sorted(command_line.directory.glob(f"{registered['job_id']}*"))
    with nothing_outside(command_line.directory, command_line.root):
        made = list(hostile(command_line, port, labels, parts, running=state == "running"))
        rows = command_line.run("ps", "--all", "--all-users")
        listed = command_line.run("ps", "--all", "--all-users", "--json")
        outcomes = [rows, listed, *(command_line.run(*look) for look in looks)]
    for outcome in outcomes:
        well_behaved(outcome)
    assert len(rows.out.splitlines()) == 1 + len(json.loads(listed.out))
    assert max(map(len, rows.out.splitlines())) < 1000
    jobs = {job["job_id"]: job for job in json.loads(command_line.run("broker", "-q").out)}
    assert jobs[registered["job_id"]]["password_hash"] == registered["password_hash"]
    assert sorted(command_line.directory.glob(f"{registered['job_id']}*")) == files
    for container in command_line.engine.containers():
        if container.id in made or not container.name.startswith(f"jobctl-{registered['job_id']}"):
            command_line.engine.vanish(container.id)


def hostile(
    line: CommandLine, port: int, labels: dict[str, str], parts: Sequence[str], *, running: bool
) -> Iterator[str]:
    """Make containers of somebody else with the names and labels of ours, and yield their ids."""
    job = a_job(
        job_id=f"job_{port}", port=str(port), owner="mallory", job_root=f"{line.directory}/"
    )
    for part in parts:
        role = "app" if part else "gateway"
        own = labels_of(job, "gateway") | {"jobctl.role": role} | labels
        line.engine.add_image("app")
        line.engine.add_image("gateway")
        with suppress(JobctlError):  # the name is that of a container of ours
            container = spec(job, f"jobctl-job_{port}{part}", role, labels=own)
            made = FakeEngine.create(line.engine, container)
            yield made
            if running:
                line.engine.start(made)


def test_the_broker_takes_the_engine_of_the_tests(
    command_line: CommandLine, registered: dict[str, Any]
) -> None:
    """Else none of the above would say anything."""
    names = [container.name for container in command_line.engine.containers()]

    assert sorted(names) == [f"jobctl-{registered['job_id']}", f"jobctl-{registered['job_id']}-app"]
