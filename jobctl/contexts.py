"""Jobs on several engines at once: each asked by itself, the ones that don't answer marked as such.

Nothing is put right on the way: that is for a look at one engine. Records that no engine vouches
for are told as they are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from threading import Thread

from jobctl.engines.base import Engine
from jobctl.errors import JobctlError
from jobctl.job import Job
from jobctl.ledger import Ledger, jobs_of_everybody
from jobctl.registry import Registry

ANSWER_S = 5
"""How long an engine may take for one answer."""
_DEADLINE_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What one context shows: its ``jobs``, or ``error`` says why that can't be told.

    A ``context`` of ``None`` has the jobs on record that are on none of the engines that answered.
    """

    context: str | None
    engine_id: str | None = None
    error: str | None = None
    jobs: Sequence[Job] = ()


def look(
    names: Sequence[str],
    connect: Callable[[str], Engine],
    registry: Registry,
    *,
    everybody: bool = False,
) -> list[Seen]:
    """Return what the contexts show, in their order, and last what is only on record, if anything.

    An engine that two of them lead to has its jobs in the first. ``everybody`` asks for the jobs
    of all users. All are asked at the same time, and those that take too long left behind.
    """
    told: SimpleQueue[Seen] = SimpleQueue()

    def ask(name: str) -> None:
        try:
            with closing(connect(name)) as engine:
                seen = _seen(name, Ledger(registry, engine), everybody=everybody)
        except JobctlError as error:
            seen = Seen(context=name, error=str(error))
        # Last, since nobody waits for what would come after.
        told.put(seen)

    for name in names:
        # Nobody waits at the end for one that hangs.
        Thread(target=ask, args=(name,), daemon=True).start()
    found = _collect(told, len(names))
    late = Seen(context=None, error=f"it did not answer within {_DEADLINE_S:g} s")
    return _merged([found.get(name) or replace(late, context=name) for name in names], registry)


def _collect(told: SimpleQueue[Seen], count: int) -> dict[str | None, Seen]:
    deadline = time.monotonic() + _DEADLINE_S
    found: dict[str | None, Seen] = {}
    while len(found) < count:
        try:
            seen = told.get(timeout=max(0.0, deadline - time.monotonic()))
        except Empty:
            break
        found[seen.context] = seen
    return found


def _seen(name: str, ledger: Ledger, *, everybody: bool) -> Seen:
    jobs = jobs_of_everybody(ledger.engine) if everybody else ledger.look()
    return Seen(context=name, engine_id=ledger.engine_id, jobs=jobs)


def _merged(found: Sequence[Seen], registry: Registry) -> list[Seen]:
    known: set[str | None] = set()
    merged = []
    for seen in found:
        merged.append(replace(seen, jobs=()) if seen.engine_id in known else seen)
        known |= {seen.engine_id} if seen.engine_id else set()
    left = [job for job in registry.read().values() if job.engine_id not in known]
    return [*merged, Seen(context=None, jobs=left)] if left else merged
