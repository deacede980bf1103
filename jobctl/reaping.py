"""Reaping: stopping jobs whose time is over or that are idle, removing those that ended long ago.

Each job is decided upon under its lock, as it is on record then. Nothing waits for a lock: a job
that another process is at work on is left for the next time.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from jobctl import idleness, lifetimes
from jobctl.durations import words
from jobctl.errors import JobctlError
from jobctl.job import Job, Status, port_of
from jobctl.ledger import Ledger
from jobctl.locks import Busy
from jobctl.observation import app_condition, in_order

_AT_ONCE = 8
"""How many jobs are looked at together: an engine takes a second to say what one of them uses."""


@dataclass(frozen=True, kw_only=True)
class Fate:
    """What comes of a job, and why; ``failed`` if it was not to be done."""

    job_id: str
    app: str
    action: Literal["stop", "remove", "keep", "skip"]
    why: str
    failed: bool = False


@dataclass(frozen=True, kw_only=True)
class Reaper:
    """Reaps the jobs of one user; times are in seconds.

    ``idle`` is how long a job may be idle that has no ``idle_timeout`` of its own, ``keep_ended``
    how long an ended one is kept; ``None``: for ever. With ``dry_run`` nothing is done.
    """

    ledger: Ledger
    idle: int | None = None
    keep_ended: int | None = None
    dry_run: bool = False

    def reap(self) -> list[Fate]:
        """Decide on each job and carry it out; one that fails does not spare the others."""
        jobs = self.ledger.reconcile()
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            fates: Iterable[Fate | None] = pool.map(self._reap, jobs.values())
            return [fate for fate in fates if fate]

    def _reap(self, listed: Job) -> Fate | None:
        job_id = listed.job_id
        try:
            with self.ledger.locks.held(port_of(job_id), timeout=0):
                job = self.ledger.registry.read().get(job_id)
                if job is None:
                    return None
                fate = self._fate(job)
                if not self.dry_run:
                    self._carry_out(job, fate)
                return fate
        except Busy:
            return _of(listed, "skip", "another jobctl is at work on it")
        except JobctlError as error:
            return Fate(job_id=job_id, app=listed.app, action="skip", why=str(error), failed=True)

    def _carry_out(self, job: Job, fate: Fate) -> None:
        ledger = self.ledger
        if fate.action == "stop":
            with ledger.at_work(job, "stop"):
                ledger.halt(job, reason=fate.why)
        elif fate.action == "remove":
            with ledger.at_work(job, "remove"):
                ledger.erase(job.job_id)

    def _fate(self, job: Job) -> Fate:
        now = time.time()
        if job.intent is not None:
            return _of(job, "skip", f"{job.intent} is under way")
        if self.ledger.elsewhere(job):
            return _of(job, "skip", f"it is on another engine, {job.engine_id}")
        if job.ended:
            return self._of_ended(job, now)
        if job.status not in (Status.LAUNCHED, Status.UNHEALTHY):
            return _of(job, "keep", f"it is {job.status}")
        if lifetimes.over(job, now):
            return _of(job, "stop", lifetimes.EXPIRED)
        limit = job.idle_timeout or self.idle
        if limit is not None:
            return self._of_watched(job, limit, now)
        return _of(
            job, "keep", f"it ends in {words(job.expires - now)}" if job.expires else "no end"
        )

    def _of_ended(self, job: Job, now: float) -> Fate:
        ended_at = job.ended_at
        if ended_at is None:  # by a jobctl that did not record it
            found = app_condition(
                self.ledger.engine, self.ledger.containers(job.job_id)[job.job_id]
            )
            ended_at = int(found.finished_at if found and found.finished_at > 0 else now)
            if not self.dry_run:
                self.ledger.registry.put(job.with_(ended_at=ended_at))
        why = f"it ended {words(max(0, now - ended_at))} ago"
        over = self.keep_ended is not None and now - ended_at > self.keep_ended
        return _of(job, "remove" if over else "keep", why)

    def _of_watched(self, job: Job, limit: int, now: float) -> Fate:
        directory = self.ledger.directory
        before = idleness.load(directory, job.job_id)
        seen = self._look(job, before)
        if seen is None:
            return _of(job, "skip", "the engine does not say what it uses")
        if not self.dry_run:
            idleness.save(directory, job.job_id, seen)
        if before is None:
            return _of(job, "keep", "not looked at before")
        idle = seen.at - seen.idle_since
        if idle >= limit:
            return _of(job, "stop", f"idle for {words(idle)}")
        if idle > 0:
            return _of(job, "keep", f"idle for {words(idle)} of {words(limit)}")
        return _of(job, "keep", f"in use within the last {words(max(1, now - before.at))}")

    def _look(self, job: Job, before: idleness.Look | None) -> idleness.Look | None:
        engine = self.ledger.engine
        ids = [one.id for one in in_order(self.ledger.containers(job.job_id)[job.job_id])]
        usage, conditions = engine.usage(ids), [engine.condition(one) for one in ids]
        if not ids or len(usage) < len(ids):
            return None
        started = [condition.started_at for condition in conditions if condition]
        return idleness.look(before, [*usage.values()], started=started, now=time.time())


def _of(job: Job, action: Literal["stop", "remove", "keep", "skip"], why: str) -> Fate:
    return Fate(job_id=job.job_id, app=job.app, action=action, why=why)
