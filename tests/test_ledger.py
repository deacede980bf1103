"""Records and containers brought into agreement: every way in which they can come to differ."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jobctl.engines.base import Container, ContainerSpec, Healthcheck, Publish
from jobctl.errors import EngineUnreachable, JobctlError
from jobctl.job import Job, Status
from jobctl.labels import app_name, labels_of, owner_name
from jobctl.ledger import Ledger, jobs_of_everybody, published
from jobctl.observation import in_order, status_of
from jobctl.registry import Registry
from tests.conftest import file_size_limit
from tests.fake_engine import TERMINATED, FakeEngine

HASH = "test:demo:4d7e319876e0192ec7e422c53d4ba80a"
FILES = ("job_8000.key", "job_8000.crt", "job_8000_htpasswd", "job_8000_config.txt")


@pytest.fixture
def fake() -> FakeEngine:
    """Return an engine in memory that has the images of the tests."""
    return FakeEngine(images=["gateway", "app"])


@pytest.fixture
def ledger(registry: Registry, fake: FakeEngine) -> Ledger:
    return Ledger(registry, fake)


def job_in(ledger: Ledger, port: int = 8000, **changes: Any) -> Job:
    values: dict[str, Any] = {
        "job_id": f"job_{port}",
        "app": "demo",
        "port": str(port),
        "protocol": "https",
        "host": "test-pc",
        "owner": "test",
        "job_root": ledger.job_root,
        "config": f"{ledger.job_root}job_{port}_config.txt",
        "password_hash": HASH,
        "hash_algorithm": "apache_md5_digest",
        "status": Status.LAUNCHED,
        "creation_timestamp": 1462323460,
        "url": f"https://localhost:{port}/",
        "image": "app",
        "tls_fingerprint": "ab" * 32,
    }
    return Job(**values | changes)


def spec(job: Job, name: str, role: Any, **changes: Any) -> ContainerSpec:
    values: dict[str, Any] = {
        "name": name,
        "image": "gateway" if role == "gateway" else "app",
        "command": ["serve"],
        "user": "1000:1000",
        "labels": labels_of(job, role),
        "memory": 1,
        "cpus": 1,
        "pids": 1,
    }
    return ContainerSpec(**values | changes)


def create(fake: FakeEngine, job: Job) -> tuple[str, str]:
    """Create the two containers of a job and return their ids."""
    publish = Publish(address="127.0.0.1", host_port=int(job.port), container_port=8443)
    check = Healthcheck(command=["look"])
    network = fake.ensure_network("jobctl")
    first = fake.create(
        spec(
            job,
            owner_name(job.job_id),
            "gateway",
            publish=publish,
            healthcheck=check,
            network=network,
        )
    )
    return first, fake.create(spec(job, app_name(job.job_id), "app", joins=first))


def running(ledger: Ledger, fake: FakeEngine, port: int = 8000, **changes: Any) -> Job:
    """Have a job with its files, its containers running, and on record."""
    job = job_in(ledger, port)
    ids = create(fake, job)
    for container in ids:
        fake.start(container)
    condition = fake.condition(ids[1])
    assert condition is not None
    endpoint = next(found.endpoint for found in fake.containers() if found.id == ids[0])
    values = {"container_ids": list(ids), "pid": condition.pid, "endpoint_id": endpoint}
    job = job.with_(**values | changes)
    files(ledger, job)
    ledger.registry.put(job)
    return job


def files(ledger: Ledger, job: Job) -> None:
    for name in FILES:
        path = ledger.directory / name.replace("job_8000", job.job_id)
        path.write_text(f"{HASH}\n" if name.endswith("_htpasswd") else "")


def files_left(ledger: Ledger, job_id: str = "job_8000") -> list[str]:
    return sorted(path.name for path in ledger.directory.glob(f"{job_id}[._]*"))


def left(fake: FakeEngine) -> set[str]:
    """Return the names of the containers that there are."""
    return {container.name for container in fake.containers()}


# Nothing to put right


def test_there_is_nothing_at_first(ledger: Ledger) -> None:
    assert ledger.reconcile() == {}


def test_a_job_that_runs_is_left_as_it_is(ledger: Ledger, fake: FakeEngine) -> None:
    job = running(ledger, fake)
    before = ledger.registry.path.stat().st_ino

    assert ledger.reconcile() == {"job_8000": job}
    assert ledger.registry.path.stat().st_ino == before


def test_a_registered_job_waits_for_its_start(ledger: Ledger, fake: FakeEngine) -> None:
    job = job_in(ledger, status=Status.REGISTERED)
    job = job.with_(container_ids=list(create(fake, job)))
    ledger.registry.put(job)

    assert ledger.reconcile() == {"job_8000": job}


def test_a_stopped_job_stays_stopped(ledger: Ledger, fake: FakeEngine) -> None:
    stopped = ledger.halt(running(ledger, fake))

    assert ledger.reconcile() == {"job_8000": stopped}


def test_what_is_put_right_once_stays_so(ledger: Ledger, fake: FakeEngine) -> None:
    job = running(ledger, fake)
    fake.crash(job.container_ids[1], 3)

    assert ledger.reconcile() == ledger.reconcile()


# What happens to a job behind our back


def test_a_job_whose_app_ended_has_exited_with_its_code(ledger: Ledger, fake: FakeEngine) -> None:
    job = running(ledger, fake)
    fake.crash(job.container_ids[1], 3)

    found = ledger.reconcile()["job_8000"]

    assert (found.status, found.exit_code, found.pid) == (Status.EXITED, 3, None)
    assert found.restarts == 5
    assert ledger.registry.read()["job_8000"] == found


def test_a_job_whose_app_ended_well_has_exited_with_zero(ledger: Ledger, fake: FakeEngine) -> None:
    job = running(ledger, fake)
    fake.crash(job.container_ids[1], 0)

    found = ledger.reconcile()["job_8000"]

    assert (found.status, found.exit_code, found.restarts) == (Status.EXITED, 0, 0)


def test_a_job_all_of_whose_containers_were_stopped_has_exited(
    ledger: Ledger, fake: FakeEngine
) -> None:
    job = running(ledger, fake)
    for container in job.container_ids:
        fake.stop(container)

    found = ledger.reconcile()["job_8000"]

    assert (found.status, found.exit_code) == (Status.EXITED, TERMINATED)


@pytest.mark.parametrize("gone", [[0], [1], [0, 1]])
def test_a_job_that_lost_a_container_is_lost(
    ledger: Ledger, fake: FakeEngine, gone: list[int]
) -> None:
    job = running(ledger, fake)
    for index in gone:
        fake.vanish(job.container_ids[index])

    found = ledger.reconcile()["job_8000"]

    assert (found.status, found.pid) == (Status.LOST, None)
    assert files_left(ledger) != []  # for its owner to look at, or to remove


def test_a_job_whose_gateway_fails_is_unhealthy(ledger: Ledger, fake: FakeEngine) -> None:
    job = running(ledger, fake)
    fake.crash(job.container_ids[0], 1)

    assert ledger.reconcile()["job_8000"].status == Status.UNHEALTHY


def test_a_job_that_fails_its_health_check_is_unhealthy_until_it_passes(
    ledger: Ledger, fake: FakeEngine
) -> None:
    job = running(ledger, fake)

    fake.set_health(job.container_ids[0], "unhealthy")
    unhealthy = ledger.reconcile()["job_8000"]
    fake.set_health(job.container_ids[0], "healthy")
    healthy = ledger.reconcile()["job_8000"]

    assert (unhealthy.status, unhealthy.pid) == (Status.UNHEALTHY, job.pid)
    assert healthy == job


@pytest.mark.parametrize("index", [0, 1])
def test_a_job_that_is_paused_is_unhealthy(ledger: Ledger, fake: FakeEngine, index: int) -> None:
    job = running(ledger, fake)
    fake.pause(job.container_ids[index])

    assert ledger.reconcile()["job_8000"].status == Status.UNHEALTHY


def test_a_stopped_job_that_somebody_started_is_launched(ledger: Ledger, fake: FakeEngine) -> None:
    stopped = ledger.halt(running(ledger, fake))
    for container in stopped.container_ids:
        fake.start(container)

    assert ledger.reconcile()["job_8000"].status == Status.LAUNCHED


def test_keys_of_a_newer_version_survive(ledger: Ledger, fake: FakeEngine) -> None:
    job = running(ledger, fake, extra={"colour": "red"})
    fake.crash(job.container_ids[1], 3)

    assert ledger.reconcile()["job_8000"].extra == {"colour": "red"}


def test_a_gateway_that_was_restarted_alone_is_cut_off_from_its_app(
    ledger: Ledger, fake: FakeEngine
) -> None:
    """The engine gave it a new network namespace; the app stays in the old one until restarted."""
    job = running(ledger, fake)
    fake.crash_once(job.container_ids[0])

    cut = ledger.reconcile()["job_8000"]
    fake.crash_once(job.container_ids[1])
    joined = ledger.reconcile()["job_8000"]

    assert (cut.status, cut.reason) == (
        Status.UNHEALTHY,
        "its gateway was restarted without the app",
    )
    assert (joined.status, joined.reason) == (Status.LAUNCHED, None)


def test_an_unhealthy_job_says_why(ledger: Ledger, fake: FakeEngine) -> None:
    job = running(ledger, fake)

    fake.set_health(job.container_ids[0], "unhealthy")
    assert ledger.reconcile()["job_8000"].reason == "its health check fails"
    fake.pause(job.container_ids[1])
    assert ledger.reconcile()["job_8000"].reason == "its app is paused"


def test_an_app_that_was_killed_for_its_memory_says_so(ledger: Ledger, fake: FakeEngine) -> None:
    job = running(ledger, fake)
    fake.crash(job.container_ids[1], 137, out_of_memory=True)

    found = ledger.reconcile()["job_8000"]

    assert (found.status, found.exit_code, found.reason) == (Status.EXITED, 137, "out of memory")


@pytest.mark.parametrize("gone", [True, False])
def test_a_status_of_a_newer_version_is_kept(ledger: Ledger, fake: FakeEngine, gone: bool) -> None:
    job = running(ledger, fake, status="hibernating")
    if gone:
        fake.vanish(job.container_ids[0])

    assert ledger.reconcile() == {"job_8000": job}


def test_what_a_newer_version_was_about_to_do_is_left_to_it(
    ledger: Ledger, fake: FakeEngine
) -> None:
    job = running(ledger, fake, intent="migrate")

    assert ledger.reconcile() == {"job_8000": job}
    assert {container.state for container in fake.containers()} == {"running"}


def test_one_job_s_end_is_not_another_s(ledger: Ledger, fake: FakeEngine) -> None:
    one, other = running(ledger, fake, 8000), running(ledger, fake, 8001)
    fake.crash(one.container_ids[1], 3)

    found = ledger.reconcile()

    assert found["job_8000"].status == Status.EXITED
    assert found["job_8001"] == other


# Jobs of another engine, as where hosts share a home directory


@pytest.fixture
def elsewhere(ledger: Ledger) -> Ledger:
    """Return the same records on a host with an engine of its own."""
    return Ledger(ledger.registry, FakeEngine(host="other-pc"))


@pytest.mark.parametrize("intent", [None, "run", "start", "stop", "remove"])
def test_a_job_of_another_engine_is_left_as_recorded(
    ledger: Ledger, elsewhere: Ledger, fake: FakeEngine, intent: str | None
) -> None:
    job = running(ledger, fake, engine_id=ledger.engine_id, intent=intent)

    assert elsewhere.reconcile() == {"job_8000": job}
    assert files_left(ledger) != []


@pytest.mark.parametrize("intent", [None, "run", "start", "stop", "remove"])
def test_a_job_of_the_same_name_on_a_host_with_the_same_directory_is_not_this_one(
    ledger: Ledger, intent: str | None
) -> None:
    there = FakeEngine(images=["gateway", "app"], host="other-pc")
    theirs = create(there, job_in(ledger))
    there.start(theirs[0])
    job = running(ledger, FakeEngine(images=["gateway", "app"]), engine_id="pc:", intent=intent)
    before = there.containers()

    assert Ledger(ledger.registry, there).reconcile() == {"job_8000": job}
    assert there.containers() == before


def test_a_name_s_end_on_one_host_leaves_its_namesake_on_another(
    ledger: Ledger, fake: FakeEngine
) -> None:
    there = FakeEngine(images=["gateway", "app"], host="other-pc")
    create(there, job_in(ledger))
    running(ledger, fake, engine_id=ledger.engine_id)

    Ledger(ledger.registry, there).erase("job_8000")

    assert left(there) == {"jobctl-job_8000", "jobctl-job_8000-app"}


def test_a_job_of_this_engine_is_lost_without_its_containers(
    ledger: Ledger, fake: FakeEngine
) -> None:
    job = running(ledger, fake, engine_id=ledger.engine_id)
    for container in job.container_ids:
        fake.vanish(container)

    assert ledger.reconcile()["job_8000"].status == Status.LOST


# What a process that was killed left


@pytest.mark.parametrize("intent", ["run", "register"])
def test_a_launch_that_died_before_its_containers_is_erased(ledger: Ledger, intent: str) -> None:
    job = job_in(ledger, status=Status.REGISTERED, intent=intent)
    files(ledger, job)
    ledger.registry.put(job)

    assert ledger.reconcile() == {}
    assert files_left(ledger) == []
    assert ledger.registry.read() == {}


@pytest.mark.parametrize("intent", ["run", "register"])
@pytest.mark.parametrize("made", [1, 2])
@pytest.mark.parametrize("start", [True, False])
def test_a_launch_that_died_with_containers_is_erased(
    ledger: Ledger, fake: FakeEngine, intent: str, made: int, start: bool
) -> None:
    job = job_in(ledger, status=Status.LAUNCHING, intent=intent)
    ids = create(fake, job)
    for container in ids[made:]:
        fake.vanish(container)
    for container in ids[:made] if start else ():
        fake.start(container)
    files(ledger, job)
    ledger.registry.put(job)

    assert ledger.reconcile() == {}
    assert left(fake) == set()
    assert files_left(ledger) == []


@pytest.mark.parametrize("intent", ["stop", "start"])
@pytest.mark.parametrize("already_stopped", [0, 1, 2])
def test_a_stop_or_start_that_died_ends_as_stopped(
    ledger: Ledger, fake: FakeEngine, intent: str, already_stopped: int
) -> None:
    job = running(ledger, fake, intent=intent)
    for container in job.container_ids[::-1][:already_stopped]:
        fake.stop(container)

    found = ledger.reconcile()["job_8000"]

    assert (found.status, found.intent, found.pid) == (Status.STOPPED, None, None)
    assert {container.state for container in fake.containers()} == {"exited"}
    assert files_left(ledger) != []
    assert ledger.reconcile()["job_8000"] == found


@pytest.mark.parametrize("already_removed", [0, 1, 2])
def test_a_removal_that_died_is_finished(
    ledger: Ledger, fake: FakeEngine, already_removed: int
) -> None:
    job = running(ledger, fake, intent="remove")
    for container in job.container_ids[::-1][:already_removed]:
        fake.remove(container)

    assert ledger.reconcile() == {}
    assert left(fake) == set()
    assert files_left(ledger) == []


def test_a_stop_of_a_job_whose_containers_are_gone_is_finished(
    ledger: Ledger, fake: FakeEngine
) -> None:
    job = running(ledger, fake, intent="stop")
    for container in job.container_ids:
        fake.vanish(container)

    ledger.reconcile()
    found = ledger.reconcile()["job_8000"]

    assert found.intent is None
    assert found.status == Status.LOST


# Containers of which there is no record


def test_a_lost_record_is_rebuilt_from_labels_and_the_password_file(
    ledger: Ledger, fake: FakeEngine
) -> None:
    job = running(ledger, fake)
    ledger.registry.path.unlink()

    found = ledger.reconcile()

    assert found["job_8000"].with_(pid=None) == job.with_(pid=None)
    assert found["job_8000"].password_hash == HASH
    assert ledger.registry.read() == found


def test_a_rebuilt_record_knows_the_process_of_a_job_that_runs(
    ledger: Ledger, fake: FakeEngine
) -> None:
    job = running(ledger, fake)
    ledger.registry.path.unlink()

    assert ledger.reconcile()["job_8000"].pid == job.pid


def test_without_a_password_file_the_record_is_rebuilt_without_a_hash(
    ledger: Ledger, fake: FakeEngine
) -> None:
    running(ledger, fake)
    ledger.registry.path.unlink()
    (ledger.directory / "job_8000_htpasswd").unlink()

    assert ledger.reconcile()["job_8000"].password_hash is None


def test_a_job_that_had_ended_is_rebuilt_as_exited(ledger: Ledger, fake: FakeEngine) -> None:
    job = running(ledger, fake)
    ledger.registry.path.unlink()
    for container in job.container_ids:
        fake.crash(container, 3)

    found = ledger.reconcile()["job_8000"]

    assert (found.status, found.exit_code) == (Status.EXITED, 3)


def test_a_job_that_had_only_been_registered_is_rebuilt_as_such(
    ledger: Ledger, fake: FakeEngine
) -> None:
    ids = create(fake, job_in(ledger))
    files(ledger, job_in(ledger))

    found = ledger.reconcile()["job_8000"]

    assert (found.status, found.container_ids) == (Status.REGISTERED, list(ids))


def test_a_job_that_secures_itself_is_rebuilt_from_its_one_container(
    ledger: Ledger, fake: FakeEngine
) -> None:
    job = job_in(ledger)
    container = fake.create(spec(job, owner_name("job_8000"), "app"))
    fake.start(container)
    files(ledger, job)

    found = ledger.reconcile()["job_8000"]

    assert (found.status, found.container_ids) == (Status.LAUNCHED, [container])


@pytest.mark.parametrize("missing", [0, 1])
@pytest.mark.parametrize("start", [True, False])
def test_half_a_pair_without_a_record_is_removed(
    ledger: Ledger, fake: FakeEngine, missing: int, start: bool
) -> None:
    ids = create(fake, job_in(ledger))
    files(ledger, job_in(ledger))
    for container in ids if start else ():
        fake.start(container)
    fake.vanish(ids[missing])

    assert ledger.reconcile() == {}
    assert left(fake) == set()


def test_containers_that_somebody_else_labelled_are_left_alone(
    ledger: Ledger, fake: FakeEngine
) -> None:
    """What only the user can have made is the certificate in their own directory."""
    ids = [*create(fake, job_in(ledger))]
    job = job_in(ledger, 8001)
    ids.append(fake.create(spec(job, app_name(job.job_id), "app")))
    for container in ids:
        fake.start(container)

    assert ledger.reconcile() == {}
    assert len(left(fake)) == 3


def test_what_the_engine_made_for_a_launch_after_that_was_undone_is_removed(
    ledger: Ledger, fake: FakeEngine
) -> None:
    create(fake, job_in(ledger))

    assert ledger.reconcile() == {}
    assert left(fake) == set()


def test_files_without_a_record_and_containers_are_removed(ledger: Ledger) -> None:
    files(ledger, job_in(ledger))
    (ledger.directory / "job_99999.key").touch()  # no job's

    assert ledger.reconcile() == {}
    assert files_left(ledger) == []
    assert files_left(ledger, "job_99999") == ["job_99999.key"]


def test_records_that_can_not_be_written_keep_nobody_from_the_truth(
    ledger: Ledger, fake: FakeEngine
) -> None:
    job = running(ledger, fake)
    fake.crash(job.container_ids[1], 3)
    said: list[str] = []
    ledger.report = said.append
    before = ledger.registry.path.read_bytes()

    with file_size_limit(10):
        found = ledger.reconcile()["job_8000"]

    assert found.status == Status.EXITED
    assert "connections.txt" in said[0]
    assert ledger.registry.path.read_bytes() == before


def test_a_job_is_stopped_even_if_that_can_not_be_recorded(
    ledger: Ledger, fake: FakeEngine
) -> None:
    job = running(ledger, fake)
    said: list[str] = []
    ledger.report = said.append

    with file_size_limit(10):
        assert ledger.halt(job).status == Status.STOPPED

    assert {container.state for container in fake.containers()} == {"exited"}
    assert "job_8000 is stopped, but" in said[0]


def test_a_damaged_record_is_rebuilt_and_the_line_set_aside(
    ledger: Ledger, fake: FakeEngine
) -> None:
    job = running(ledger, fake)
    ledger.registry.path.write_text(ledger.registry.path.read_text()[:100])

    found = ledger.reconcile()["job_8000"]

    assert found.with_(pid=None) == job.with_(pid=None)
    assert len(list(ledger.directory.glob("*.damaged-*"))) == 1


# What is not ours


def test_jobs_below_another_directory_are_never_touched(ledger: Ledger, fake: FakeEngine) -> None:
    others = job_in(ledger, 8001, job_root="/somebody/else/", owner="eve")
    ids = create(fake, others)
    fake.start(ids[0])
    fake.vanish(ids[1])

    assert ledger.reconcile() == {}
    assert left(fake) == {"jobctl-job_8001"}
    assert fake.containers()[0].state == "running"


def test_containers_that_are_no_jobs_are_never_touched(ledger: Ledger, fake: FakeEngine) -> None:
    job = running(ledger, fake)
    other = spec(job, "web", "app", labels={"com.example": "x"})
    fake.start(fake.create(other))

    ledger.reconcile()

    assert "web" in left(fake)


@pytest.mark.parametrize(
    "labels",
    [
        {"jobctl.job_id": "nonsense"},
        {"jobctl.job_id": "../../etc"},
        {"jobctl.job_id": "job_*"},
        {"jobctl.job_id": ""},
        {"jobctl.job_id": "job_99999"},
        {"jobctl.created": "yesterday"},
        {"jobctl.port": "8002"},
    ],
)
def test_labels_that_make_no_sense_stop_no_command(
    ledger: Ledger, fake: FakeEngine, labels: dict[str, str]
) -> None:
    job = running(ledger, fake)
    strange = spec(job_in(ledger, 8001), "jobctl-job_8001", "app")
    fake.create(spec(job, "jobctl-job_8001", "app", labels={**strange.labels, **labels}))

    assert ledger.reconcile()["job_8000"] == job


def test_a_job_that_another_process_is_at_work_on_is_left_alone(
    ledger: Ledger, fake: FakeEngine
) -> None:
    job = running(ledger, fake, intent="remove")
    half_made = job_in(ledger, 8001)
    create(fake, half_made)

    with ledger.locks.held(8000), ledger.locks.held(8001):
        found = ledger.reconcile()

    assert found == {"job_8000": job}
    assert {"jobctl-job_8000", "jobctl-job_8001", "jobctl-job_8001-app"} <= left(fake)
    assert files_left(ledger) == sorted(FILES)


HOLD = """
import sys
from pathlib import Path
from jobctl.locks import Locks
with Locks(Path(sys.argv[1])).held(8000):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_job_is_put_right_once_the_process_at_work_on_it_was_killed(
    ledger: Ledger, fake: FakeEngine
) -> None:
    running(ledger, fake, intent="run")
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, ledger.directory],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"held\n"
        during = ledger.reconcile()
        worker.kill()

    assert list(during) == ["job_8000"]
    assert ledger.reconcile() == {}


# Engines that can't be asked


def test_an_engine_that_does_not_answer_loses_no_job(ledger: Ledger, fake: FakeEngine) -> None:
    running(ledger, fake)
    running(ledger, fake, 8001, intent="run")
    before = ledger.registry.path.read_bytes()

    with fake.unreachable(), pytest.raises(EngineUnreachable):
        ledger.reconcile()

    assert ledger.registry.path.read_bytes() == before
    assert files_left(ledger, "job_8001") != []


def test_what_can_not_be_removed_stays_on_record(ledger: Ledger, fake: FakeEngine) -> None:
    running(ledger, fake)

    with fake.unreachable(), pytest.raises(EngineUnreachable):
        ledger.erase("job_8000")

    assert list(ledger.registry.read()) == ["job_8000"]
    assert files_left(ledger) == sorted(FILES)


# Acts


def test_erasing_leaves_nothing_of_a_job_and_all_of_its_neighbour(
    ledger: Ledger, fake: FakeEngine
) -> None:
    running(ledger, fake, 8000)
    neighbour = running(ledger, fake, 8001)

    ledger.erase("job_8000")

    assert left(fake) == {"jobctl-job_8001", "jobctl-job_8001-app"}
    assert files_left(ledger) == []
    assert len(files_left(ledger, "job_8001")) == len(FILES)
    assert ledger.registry.read() == {"job_8001": neighbour}


def test_erasing_what_is_gone_is_fine(ledger: Ledger) -> None:
    ledger.erase("job_8000")

    assert ledger.registry.read() == {}


def test_halting_stops_both_containers_and_records_the_app_s_exit_code(
    ledger: Ledger, fake: FakeEngine
) -> None:
    stopped = ledger.halt(running(ledger, fake, intent="stop"))

    assert (stopped.status, stopped.exit_code) == (Status.STOPPED, TERMINATED)
    assert (stopped.pid, stopped.intent) == (None, None)
    assert ledger.registry.read()["job_8000"] == stopped
    assert {container.state for container in fake.containers()} == {"exited"}


# Values


def container(name: str = "jobctl-job_8000", state: str = "running", **changes: Any) -> Container:
    values: dict[str, Any] = {"id": name, "image": "i", "labels": {}}
    return Container(name=name, state=state, **values | changes)


def test_the_container_that_owns_the_port_comes_first() -> None:
    first, second = container(), container("jobctl-job_8000-app")

    assert in_order([second, first]) == [first, second]
    assert in_order([first, second], reverse=True) == [second, first]


@pytest.mark.parametrize(
    ("gateway", "app", "status"),
    [
        ("running", "running", Status.LAUNCHED),
        ("running", "exited", Status.EXITED),
        ("running", "dead", Status.EXITED),
        ("running", "restarting", Status.UNHEALTHY),
        ("restarting", "running", Status.UNHEALTHY),
        ("exited", "running", Status.UNHEALTHY),
        ("paused", "running", Status.UNHEALTHY),
        ("exited", "exited", Status.EXITED),
        ("dead", "exited", Status.EXITED),
    ],
)
def test_the_status_that_two_containers_show(
    ledger: Ledger, gateway: str, app: str, status: str
) -> None:
    found = [
        container(state=gateway, labels={"jobctl.role": "gateway"}),
        container("jobctl-job_8000-app", state=app, labels={"jobctl.role": "app"}),
    ]

    assert status_of(job_in(ledger, container_ids=["a", "b"]), found)[0] == status


def test_who_holds_a_port_is_told_in_words(ledger: Ledger, fake: FakeEngine) -> None:
    mine = ledger.halt(running(ledger, fake))
    everything = [
        *fake.containers(),
        container("web", ports=frozenset([8080, 8081])),
    ]

    assert published(everything) == {
        8000: "test's job_8000",  # a stopped job keeps its port
        8080: "the container web",
        8081: "the container web",
    }
    assert mine.ended


@pytest.mark.parametrize("job_id", ["", "job_", "nonsense", "job_²", "job_-1"])
def test_a_strange_label_holds_no_port(job_id: str) -> None:
    strange = container(labels={"jobctl.job_id": job_id, "jobctl.owner": "eve"})

    assert published([strange]) == {}


def test_jobs_of_everybody_are_known_from_labels_and_without_their_hashes(
    ledger: Ledger, fake: FakeEngine
) -> None:
    running(ledger, fake, 8000)
    theirs = job_in(ledger, 8001, job_root="/somebody/else/", owner="eve")
    for one in create(fake, theirs):
        fake.start(one)
    registered = job_in(ledger, 8002, owner="adam")
    create(fake, registered)

    found = {job.job_id: job for job in jobs_of_everybody(fake)}

    assert {job_id: (job.owner, job.status) for job_id, job in found.items()} == {
        "job_8000": ("test", Status.LAUNCHED),
        "job_8001": ("eve", Status.LAUNCHED),
        "job_8002": ("adam", Status.REGISTERED),
    }
    assert {job.password_hash for job in found.values()} == {None}


def test_strange_labels_of_somebody_hide_no_job_of_others(ledger: Ledger, fake: FakeEngine) -> None:
    running(ledger, fake)
    fake.create(spec(job_in(ledger, 8001), "strange", "app", labels={"jobctl.job_id": "nonsense"}))

    assert [job.job_id for job in jobs_of_everybody(fake)] == ["job_8000"]


def test_a_directory_is_a_job_root_with_a_slash(ledger: Ledger, home: Path) -> None:
    assert ledger.job_root == f"{home}/"


def test_errors_of_the_ledger_are_jobctl_s(ledger: Ledger, fake: FakeEngine) -> None:
    with fake.unreachable(), pytest.raises(JobctlError, match="did not answer"):
        jobs_of_everybody(fake)
