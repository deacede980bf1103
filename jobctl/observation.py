"""What a job's containers show: its status, why it is what it is, and the app's process."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from jobctl import hosts, labels
from jobctl.job import ENDED, KNOWN_STATUSES, Job, Status

if TYPE_CHECKING:
    from jobctl.engines.base import Condition, Container, Engine


def observe(engine: Engine, job: Job, found: Sequence[Container]) -> Job:
    """Return a job that nobody is at work on as its containers show it.

    A status that only a newer jobctl knows is left alone.
    """
    if job.status not in KNOWN_STATUSES:
        return job
    status, reason = status_of(job, found)
    job = placed(job, found)
    if status == Status.LAUNCHED:
        job, cut = _without_its_app(engine, job, found)
        if cut:
            status, reason = Status.UNHEALTHY, "its gateway was restarted without the app"
    if status == job.status and (reason == job.reason or status == Status.EXITED):
        return job
    condition = app_condition(engine, found) if status == Status.EXITED else None
    if condition and condition.out_of_memory:
        reason = "out of memory"
    return job.with_(
        status=status,
        reason=reason,
        pid=job.pid if status in (Status.LAUNCHED, Status.UNHEALTHY) else None,
        exit_code=condition.exit_code if condition else job.exit_code,
        restarts=condition.restarts if condition else job.restarts,
        ended_at=_ended_at(job, status, condition),
    )


def placed(job: Job, found: Iterable[Container]) -> Job:
    """Return a job of a cluster as being on the host where the container is that has its port."""
    owner = next(iter(in_order(found)), None)
    if owner is None or owner.host is None or owner.address is None:
        return job
    address = f"[{owner.address}]" if ":" in owner.address else owner.address
    url = f"{job.protocol}://{address}:{job.port}/"
    return job.with_(host=owner.host, url=url, open_url=url)


def _ended_at(job: Job, status: str, condition: Condition | None) -> int | None:
    """Return when a job ended that was not known to have: as the engine says, else just now."""
    if status not in ENDED:
        return None
    if job.ended:
        return job.ended_at
    told = condition is not None and condition.finished_at > 0
    return int(condition.finished_at if condition and told else time.time())


def status_of(job: Job, found: Sequence[Container]) -> tuple[str, str | None]:
    """Return the status that the list of a job's containers shows, and the reason of a bad one."""
    if len(found) < max(1, len(job.container_ids)):
        return Status.LOST, "one of its containers was removed" if found else None
    states = {container.state for container in found}
    if any(container.apart for container in found):
        return Status.UNHEALTHY, "its gateway went to another node, the app is brought there"
    if states == {"running"}:
        if any(container.health == "unhealthy" for container in found):
            return Status.UNHEALTHY, "its health check fails"
        return Status.LAUNCHED, None
    if states & {"running", "paused", "restarting", "starting"}:
        app = app_of(found)
        if app is not None and app.state in ("exited", "dead"):
            return Status.EXITED, None
        return Status.UNHEALTHY, "; ".join(
            f"its {container.labels.get(labels.ROLE)} is {container.state}"
            + (f": {container.reason}" if container.reason else "")
            for container in in_order(found)
            if container.state != "running"
        )
    if job.status in (Status.STOPPED, Status.REGISTERED):
        return job.status, job.reason
    return Status.EXITED, None


def _without_its_app(engine: Engine, job: Job, found: Sequence[Container]) -> tuple[Job, bool]:
    """Tell whether a gateway was restarted while its app went on, which cuts the two apart.

    A restarted container has a network namespace of its own; who had joined the old one stays
    there until it is restarted too. The engine's list shows a restart as another endpoint on the
    network; only if there is one are the two asked when they were started.
    """
    gateway, app = in_order(found)[0], app_of(found)
    if app is None or gateway is app or gateway.endpoint == job.endpoint_id:
        return job, False
    one, other = engine.condition(gateway.id), engine.condition(app.id)
    if one is None or other is None or other.started_at < one.started_at:
        return job, True
    return job.with_(endpoint_id=gateway.endpoint), False


def app_of(containers: Iterable[Container]) -> Container | None:
    """Return the one of a job's containers that runs the app."""
    return next((c for c in containers if c.labels.get(labels.ROLE) == "app"), None)


def app_condition(engine: Engine, containers: Iterable[Container]) -> Condition | None:
    """Return how the container of the app is doing, ``None`` if there is none."""
    app = app_of(containers)
    return engine.condition(app.id) if app else None


def in_order(containers: Iterable[Container], *, reverse: bool = False) -> list[Container]:
    """Return a job's containers in the order to start them: the one that owns the port first."""
    return sorted(containers, key=lambda c: c.name.endswith("-app"), reverse=reverse)


def main_pid(engine: Engine, condition: Condition) -> int | None:
    """Return the host's process id of an app; the engine's own is that of the app's init."""
    if condition.pid is None or engine.local_socket is None:
        return condition.pid
    return hosts.first_child(condition.pid) or condition.pid
