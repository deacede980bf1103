"""What jobs use: CPU, memory and traffic, of both their containers together. Pure, asks nobody."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from jobctl.engines.base import Usage
from jobctl.job import Job


@dataclass(frozen=True, kw_only=True)
class JobUsage:
    """What one job uses.

    ``cpu`` is in percent of one core, ``memory`` in bytes, ``received`` and ``sent`` are the bytes
    since its containers were started.
    """

    job: Job
    cpu: float
    memory: int
    received: int
    sent: int


def of_jobs(
    jobs: Iterable[Job], before: Mapping[str, Usage], now: Mapping[str, Usage]
) -> Iterator[JobUsage]:
    """Yield what each job uses that runs, by what its containers had used ``before`` and do now."""
    for job in jobs:
        found = {one: now[one] for one in job.container_ids if one in now}
        if found:
            # Its containers share one network, of which each tells the same.
            first = next(iter(found.values()))
            yield JobUsage(
                job=job,
                cpu=sum(_percent(before.get(one), usage) for one, usage in found.items()),
                memory=sum(usage.memory for usage in found.values()),
                received=first.received,
                sent=first.sent,
            )


def _percent(before: Usage | None, now: Usage) -> float:
    if before is None or now.at <= before.at:
        return 0.0
    # It has used less than before if it was started again.
    return max(0.0, 100 * (now.cpu_seconds - before.cpu_seconds) / (now.at - before.at))
