"""The clock: whether what was signed, written down and told by the engine goes with it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

from jobctl import certs
from jobctl.doctor.finding import Answer, NotSeen, ok, problem, warning
from jobctl.doctor.subject import Subject
from jobctl.errors import JobctlError

_DAY = 86400
# A leaf is valid from five minutes before it is made: clocks that differ by less do no harm.
_HARMFUL_S = 300
_ODD_S = 30
_SET = "set the clock, as with: timedatectl set-ntp true"


def plausible(subject: Subject) -> Answer:
    """Compare the clock with the engine's, and with when jobs and certificates were made."""
    now = time.time()
    shown = f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d %H:%M} UTC"
    if ahead := sorted(_from_the_future(subject, now), reverse=True):
        return problem(
            f"it is {shown}, and there are jobs of up to {_length(ahead[0][0])} later "
            f"({', '.join(name for _, name in ahead)}): clients refuse what begins later",
            f"{_SET}; if it is right now and was not when these were made, launch them anew",
        )
    apart = _apart(subject)
    if apart is None or abs(apart) < _ODD_S:
        beside = "" if apart is None else ", as the engine's clock says"
        return ok(f"{shown}{beside}; nothing on record is of later")
    seen = f"{shown}; the engine's is {_length(abs(apart))} {'ahead' if apart > 0 else 'behind'}"
    if abs(apart) < _HARMFUL_S:
        return warning(seen, f"{_SET}, on both hosts")
    return problem(f"{seen}: one of the two is wrong, and clients may refuse certificates", _SET)


def _from_the_future(subject: Subject, now: float) -> Iterator[tuple[float, str]]:
    """Yield what was made later than now, by how many seconds."""
    directory = subject.broker.directory
    for job in subject.jobs:
        ahead = [job.creation_timestamp - now - _HARMFUL_S]
        try:
            certificate = (directory / f"{job.job_id}.crt").read_bytes()
            ahead.append(-certs.days_old(certificate) * _DAY)
        except (OSError, ValueError):
            pass  # said of the certificate
        if max(ahead) > 0:
            yield max(ahead), job.job_id


def _apart(subject: Subject) -> float | None:
    """Return by how many seconds the engine's clock is ahead of this host's, if it tells."""
    try:
        told = subject.facts.time
        return None if told is None else told - subject.facts_at
    except (NotSeen, JobctlError):
        return None


def _length(seconds: float) -> str:
    for length, unit in ((_DAY, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"
