"""When a job is to end: what it is given, how that is moved, and a second witness of where it is.

``connections.txt`` has the truth. Labels have the end that a job was launched with, and can't
change; a file of the job has the one that it was given since, for records that are made anew.
"""

from __future__ import annotations

import math
from pathlib import Path

from jobctl import jobfiles
from jobctl.durations import seconds, words
from jobctl.errors import JobctlError, UsageError
from jobctl.job import Job
from jobctl.schema import DAY_S, General, Section

NEVER = "never"
EXPIRED = "expired"
"""The reason of a job that was stopped because its time was over."""

_LEAST_WARNING_S = 600
_SUFFIX = "_expires"


def ttl(section: Section, general: General) -> int | None:
    """Return how many seconds a job of a section is given; ``None``: it has no end.

    Raises:
        UsageError: that is more than ``general.max_ttl``.
    """
    limit = general.max_ttl
    if section.ttl is None:
        return None if limit is None else seconds(limit)
    wanted = seconds(section.ttl)
    if limit is not None and wanted > seconds(limit):
        raise UsageError(_over(section.ttl, limit))
    return wanted


def moved(
    end: int | None, by: str, general: General, *, now: float, from_now: bool = False
) -> int | None:
    """Return the end of a job that is given ``by`` more, from the later of now and its ``end``.

    Raises:
        UsageError: ``by`` is neither a span of time nor ``never``, or ``general.max_ttl`` does not
            let it be so far away.
    """
    limit = general.max_ttl
    if by == NEVER:
        if limit is not None:
            raise UsageError(_over(NEVER, limit))
        return None
    base = now if from_now or end is None else max(now, end)
    later = math.ceil(base) + seconds(by)
    if limit is not None and later - math.ceil(now) > seconds(limit):
        raise UsageError(_over(f"{by} more", limit))
    return later


def _over(wanted: str, limit: str) -> str:
    return (
        f'"{wanted}" is more than general.max_ttl lets a job have, which is {limit}; ask for less'
    )


def over(job: Job, now: float) -> bool:
    """Tell whether a job's time is over."""
    return job.expires is not None and job.expires <= now


def remark(job: Job, now: float) -> str | None:
    """Say that a job's time is over, or in the last part of its life how much is left of it."""
    if job.expires is None:
        return None
    if over(job, now):
        return EXPIRED
    left = job.expires - now
    tenth = (job.expires - job.creation_timestamp) / 10
    if job.ended or left > min(DAY_S, max(_LEAST_WARNING_S, tenth)):
        return None
    return f"ends in {words(left)}"


def keep_end(directory: Path, job: Job, end: int | None) -> None:
    """Write down the end that a job was given after its launch."""
    text = NEVER if end is None else str(end)
    jobfiles.write_private(directory / (job.job_id + _SUFFIX), f"{text}\n".encode())


def kept_end(directory: Path, job: Job) -> int | None:
    """Return the end that a job was given last, as far as there is a trace of it.

    ``job.expires`` is the one that its labels have.
    """
    try:
        text = (directory / (job.job_id + _SUFFIX)).read_text("ascii").strip()
        return None if text == NEVER else int(text[:20])
    except (OSError, ValueError):
        return job.expires


def check_startable(job: Job, now: float) -> None:
    """Make sure that a job that is to start has time left.

    Raises:
        JobctlError: it has none.
    """
    if over(job, now):
        raise JobctlError(
            f"the time of {job.job_id} was over {words(now - (job.expires or 0))} ago; give it "
            f"more first: jobctl extend {job.job_id} 8h"
        )
