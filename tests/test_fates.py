"""What is decided on each job, and why, on an engine in memory."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pytest

from jobctl import idleness
from jobctl.engines.base import Condition, Usage
from jobctl.errors import EngineRefused
from jobctl.job import Job, Status
from jobctl.ledger import Ledger
from jobctl.reaping import Reaper
from jobctl.registry import Registry
from tests.fake_engine import FakeEngine
from tests.test_ledger import create, job_in, running

HOUR = 3600
DAY = 24 * HOUR


@pytest.fixture
def fake() -> FakeEngine:
    return FakeEngine(images=["gateway", "app"])


@pytest.fixture
def ledger(registry: Registry, fake: FakeEngine) -> Ledger:
    return Ledger(registry, fake)


def reap(ledger: Ledger, **how: Any) -> dict[str, tuple[str, str]]:
    """Reap, and return action and reason by job."""
    fates = [asdict(fate) for fate in Reaper(ledger=ledger, **how).reap()]
    return {fate["job_id"]: (fate["action"], fate["why"]) for fate in fates}


def looked_at(ledger: Ledger, job: Job, ago: float) -> None:
    """Let it have been so long since a look at a job, in which nothing has happened."""
    seen = idleness.load(ledger.directory, job.job_id)
    assert seen is not None
    then = seen.at - ago
    before = idleness.Look(
        at=then,
        started=seen.started,
        cpu_seconds=seen.cpu_seconds,
        sent=seen.sent,
        idle_since=then,
    )
    idleness.save(ledger.directory, job.job_id, before)


def test_each_job_gets_what_is_due(ledger: Ledger, fake: FakeEngine) -> None:
    now = int(time.time())
    running(ledger, fake, 8000, expires=now - 1)
    running(ledger, fake, 8001, expires=now + HOUR + 1)
    running(ledger, fake, 8002)
    stopped = running(ledger, fake, 8003)
    ledger.halt(stopped)
    registered = job_in(ledger, 8004, status=Status.REGISTERED, expires=now - 1)
    ledger.registry.put(registered.with_(container_ids=list(create(fake, registered))))
    running(ledger, fake, 8005, engine_id="elsewhere:/var", expires=now - 1)

    assert reap(ledger) == {
        "job_8000": ("stop", "expired"),
        "job_8001": ("keep", "it ends in 1 hour"),
        "job_8002": ("keep", "no end"),
        "job_8003": ("keep", "it ended 0 seconds ago"),
        "job_8004": ("keep", "it is registered"),
        "job_8005": ("skip", "it is on another engine, elsewhere:/var"),
    }
    after = ledger.reconcile()
    assert (after["job_8000"].status, after["job_8000"].reason) == ("stopped", "expired")
    assert after["job_8001"].status == after["job_8005"].status == "launched"


def test_idle_for_long_enough(ledger: Ledger, fake: FakeEngine) -> None:
    job = running(ledger, fake, idle_timeout=2 * HOUR)
    assert reap(ledger)[job.job_id] == ("keep", "not looked at before")

    looked_at(ledger, job, HOUR)
    assert reap(ledger)[job.job_id] == ("keep", "idle for 1 hour of 2 hours")
    # Its own time goes before that of the command line.
    assert reap(ledger, idle=60)[job.job_id][0] == "keep"

    looked_at(ledger, job, 2 * HOUR)
    assert reap(ledger, dry_run=True)[job.job_id] == ("stop", "idle for 2 hours")
    assert ledger.reconcile()[job.job_id].status == "launched"
    assert reap(ledger)[job.job_id] == ("stop", "idle for 2 hours")
    assert ledger.reconcile()[job.job_id].reason == "idle for 2 hours"


@pytest.mark.parametrize("work", [{"sent": 10**6}, {"cpu_seconds": 600.0}])
def test_work_and_traffic_are_use(ledger: Ledger, fake: FakeEngine, work: dict[str, Any]) -> None:
    job = running(ledger, fake)
    reap(ledger, idle=HOUR)
    looked_at(ledger, job, 2 * HOUR)

    fake.work(job.container_ids[0 if "sent" in work else 1], **work)

    assert reap(ledger, idle=HOUR)[job.job_id] == ("keep", "in use within the last 2 hours")
    assert reap(ledger, idle=HOUR)[job.job_id][0] == "keep"


def test_one_that_was_started_again_has_all_its_time(ledger: Ledger, fake: FakeEngine) -> None:
    job = running(ledger, fake)
    reap(ledger, idle=HOUR)
    looked_at(ledger, job, 2 * HOUR)
    fake.crash_once(job.container_ids[1])

    assert reap(ledger, idle=HOUR)[job.job_id][0] == "keep"


class Silent(FakeEngine):
    """An engine that can't say what containers use."""

    def usage(self, containers: Sequence[str]) -> dict[str, Usage]:  # noqa: ARG002
        return {}


def test_what_can_not_be_told_is_no_reason_to_stop(registry: Registry) -> None:
    engine = Silent(images=["gateway", "app"])
    ledger = Ledger(registry, engine)
    job = running(ledger, engine)

    assert reap(ledger, idle=1)[job.job_id] == ("skip", "the engine does not say what it uses")


class Stubborn(FakeEngine):
    """An engine that refuses to stop one container."""

    spared = ""

    def stop(self, container: str, *, grace: int | None = None) -> None:
        if container == self.spared:
            raise EngineRefused("the engine refused: not now")
        super().stop(container, grace=grace)


def test_one_that_fails_does_not_spare_the_others(registry: Registry) -> None:
    engine = Stubborn(images=["gateway", "app"])
    ledger = Ledger(registry, engine)
    first, second = (running(ledger, engine, port, expires=1) for port in (8000, 8001))
    engine.spared = first.container_ids[1]

    fates = Reaper(ledger=ledger).reap()

    assert [(fate.action, fate.failed) for fate in fates] == [("skip", True), ("stop", False)]
    assert "not now" in fates[0].why
    after = ledger.reconcile()
    assert (after[first.job_id].status, after[first.job_id].intent) == ("launched", None)
    assert after[second.job_id].status == "stopped"


class Old(FakeEngine):
    """An engine whose containers have all ended two days ago."""

    def condition(self, container: str) -> Condition | None:
        found = super().condition(container)
        if found is None or found.state != "exited":
            return found
        return Condition(
            state=found.state,
            pid=None,
            exit_code=0,
            restarts=0,
            started_at=found.started_at,
            finished_at=time.time() - 2 * DAY - 1,
        )


def test_records_that_do_not_say_when_a_job_ended(registry: Registry) -> None:
    """Those of an older jobctl: the engine knows it, or it counts from the first look."""
    engine = Old(images=["gateway", "app"])
    ledger = Ledger(registry, engine)
    whole, bare = running(ledger, engine, 8000), running(ledger, engine, 8001)
    for job in (whole, bare):
        ledger.halt(job)
        ledger.registry.put(ledger.registry.read()[job.job_id].with_(ended_at=None))
    for container in bare.container_ids:
        engine.vanish(container)
    ledger.registry.put(
        ledger.registry.read()[bare.job_id].with_(status=Status.LOST, ended_at=None)
    )

    assert reap(ledger, keep_ended=3 * DAY) == {
        "job_8000": ("keep", "it ended 2 days ago"),
        "job_8001": ("keep", "it ended 0 seconds ago"),
    }
    assert reap(ledger, keep_ended=DAY)["job_8000"] == ("remove", "it ended 2 days ago")
    assert ledger.registry.read().keys() == {"job_8001"}


def test_the_end_of_one_that_ended_by_itself_is_the_engine_s(registry: Registry) -> None:
    engine = Old(images=["gateway", "app"])
    ledger = Ledger(registry, engine)
    job = running(ledger, engine)
    engine.crash(job.container_ids[1], 0)

    ended_at = ledger.reconcile()[job.job_id].ended_at

    assert ended_at is not None
    assert abs(time.time() - 2 * DAY - ended_at) < 5


def test_one_that_is_started_again_has_not_ended(ledger: Ledger, fake: FakeEngine) -> None:
    job = running(ledger, fake)
    ledger.halt(job)
    assert ledger.reconcile()[job.job_id].ended_at is not None
    for container in job.container_ids:
        fake.start(container)

    assert ledger.reconcile()[job.job_id].ended_at is None
