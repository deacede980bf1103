"""Whether a job is in use: what its containers have counted since they were looked at before.

Pure but for one small file a job. What a look shows is asked for, and acted on, elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from jobctl import jobfiles
from jobctl.engines.base import Usage

# Measured over two minutes each. Where nobody asked, no byte was sent, but up to 38 a second were
# received, which is what other containers broadcast: so only what is sent counts. A WebSocket on
# which nothing is said is pinged, 6.1 bytes a second with Conduit and 6.6 with Jupyter. A request
# over a connection of its own has 2000 to 5900 sent.
BYTES_A_SECOND = 20
# Health checks every 30 s take Conduit and its gateway 0.2 % of a core; Jupyter 0.05 %, and 0.07 %
# with a kernel at rest.
CPU_SHARE = 0.02
# Between two looks that are close to each other there may have been a check or two.
CPU_SECONDS = 0.25

_SUFFIX = "_activity.json"


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What a job's containers had counted at a time, in seconds since the epoch as all times here.

    ``started`` are the times at which they were started, from which they count. ``idle_since`` is
    up to when the job was in use, as far as looks can tell.
    """

    at: float
    started: list[float]
    cpu_seconds: float
    sent: int
    idle_since: float


def look(
    before: Look | None, usage: Sequence[Usage], *, started: Sequence[float], now: float
) -> Look:
    """Return a look at a job; ``usage`` is that of its containers, who share one network.

    Without one ``before`` of the same containers, or if the clock was put back since, it counts as
    in use up to now.
    """
    seen = Look(
        at=now,
        started=[*started],
        cpu_seconds=sum(one.cpu_seconds for one in usage),
        sent=max(one.sent for one in usage),
        idle_since=now,
    )
    if before is None or before.started != seen.started or not before.idle_since <= before.at < now:
        return seen
    if used_since(before, seen):
        return seen
    return msgspec.structs.replace(seen, idle_since=before.idle_since)


def used_since(before: Look, seen: Look) -> bool:
    """Tell whether a job was in use between two looks: traffic, or work of its own."""
    span = seen.at - before.at
    return (
        seen.sent - before.sent > BYTES_A_SECOND * span
        or seen.cpu_seconds - before.cpu_seconds > CPU_SHARE * span + CPU_SECONDS
    )


def load(directory: Path, job_id: str) -> Look | None:
    """Return the last look at a job; ``None``: there was none that can be read."""
    try:
        return msgspec.json.decode((directory / (job_id + _SUFFIX)).read_bytes(), type=Look)
    except (OSError, ValueError):
        return None


def save(directory: Path, job_id: str, seen: Look) -> None:
    """Keep a look at a job for the next one. The caller holds the job's lock."""
    jobfiles.write_private(directory / (job_id + _SUFFIX), msgspec.json.encode(seen))
