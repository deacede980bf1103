"""The user's jobs as they are: the records and the engine's containers, brought into agreement.

Every command that reads both comes through here, so that whatever a killed process, a lost
``connections.txt`` or a container removed behind our back left is put right by the next one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from jobctl import hosts, jobfiles, labels
from jobctl.containers import app_name, owner_name
from jobctl.engines.base import Condition, Container, Engine
from jobctl.errors import JobctlError
from jobctl.job import Job, Status, is_job_id, port_of
from jobctl.locks import Busy
from jobctl.registry import Registry


class Ledger:
    """One user's directory on one engine."""

    def __init__(self, registry: Registry, engine: Engine) -> None:
        self.registry = registry
        self.engine = engine
        self.directory = registry.path.parent
        self.locks = registry.locks

    @property
    def job_root(self) -> str:
        """The directory as the job object has it: with a slash at its end."""
        return f"{self.directory}/"

    def reconcile(self) -> dict[str, Job]:
        """Put the records right and return the jobs by id.

        A job that another process is at work on right now is left as recorded.
        """
        # Records first: a job that is recorded after this look has its containers in the list.
        seen, damaged = self.registry.parse()
        listed = self.containers()
        unsettled = [
            job_id
            for job_id in {**seen, **listed}
            if job_id not in seen or seen[job_id].intent is not None
        ]
        changes = {
            job.job_id: self._observed(job, listed.get(job.job_id, []))
            for job in seen.values()
            if job.intent is None
        }
        if damaged or any(changes[job_id] != seen[job_id] for job_id in changes):
            with self.registry.edit() as jobs:
                for job_id, job in changes.items():
                    if jobs.get(job_id) == seen[job_id]:
                        jobs[job_id] = job
        for job_id in unsettled:
            self._settle(job_id)
        return self.registry.read() if unsettled else {**seen, **changes}

    def containers(self, job_id: str | None = None) -> defaultdict[str, list[Container]]:
        """Return the containers of the user's jobs, or of one job, by job id."""
        wanted = [f"{labels.JOB_ID}={job_id}" if job_id else labels.JOB_ID]
        return _by_job(self.engine.containers([*wanted, f"{labels.JOB_ROOT}={self.job_root}"]))

    def erase(self, job_id: str) -> None:
        """Remove all there is of a job: containers, files, record, in this order.

        Whatever stops it half-way, the record still says that there is something to remove.
        """
        for container in in_order(self.containers(job_id)[job_id], reverse=True):
            self.engine.remove(container.id)
        jobfiles.remove(self.directory, job_id)
        self.registry.drop(job_id)

    def halt(self, job: Job) -> Job:
        """Stop a job's containers, the app first, and record it as stopped."""
        containers = in_order(self.containers(job.job_id)[job.job_id], reverse=True)
        for container in containers:
            self.engine.stop(container.id)
        condition = self._app_condition(containers)
        stopped = job.with_(
            status=Status.STOPPED,
            intent=None,
            pid=None,
            exit_code=condition.exit_code if condition else None,
        )
        self.registry.put(stopped)
        return stopped

    def _settle(self, job_id: str) -> None:
        """Finish or undo what a process left half-done, if it is no longer at it."""
        try:
            with self.locks.held(port_of(job_id), timeout=0):
                job = self.registry.read().get(job_id)
                found = self.containers(job_id)[job_id]
                if job is None:
                    self._adopt(job_id, found)
                elif job.intent in ("stop", "start"):
                    self.halt(job)
                elif job.intent is not None:
                    self.erase(job_id)
        except Busy:
            return

    def _adopt(self, job_id: str, found: Sequence[Container]) -> None:
        """Write the record of containers that have none, or remove them if they are a fragment."""
        owner = next((c for c in found if c.name == owner_name(job_id)), None)
        if owner is None or _app(found) is None:
            self.erase(job_id)
            return
        try:
            job = labels.job_from(owner.labels, status=_first_status(owner))
        except JobctlError:
            return  # anybody may put such labels on a container of their own
        app = self._app_condition(found)
        password_file = self.directory / f"{job_id}_htpasswd"
        line = password_file.read_text().strip() if password_file.exists() else None
        job = job.with_(
            password_hash=line,
            container_ids=[c.id for c in in_order(found)],
            pid=main_pid(self.engine, app) if app else None,
        )
        self.registry.put(self._observed(job, found))

    def _observed(self, job: Job, found: Sequence[Container]) -> Job:
        status = status_of(job, found)
        if status == job.status:
            return job
        condition = self._app_condition(found) if status == Status.EXITED else None
        return job.with_(
            status=status,
            pid=job.pid if status in (Status.LAUNCHED, Status.UNHEALTHY) else None,
            exit_code=condition.exit_code if condition else job.exit_code,
            restarts=condition.restarts if condition else job.restarts,
        )

    def _app_condition(self, found: Iterable[Container]) -> Condition | None:
        app = _app(found)
        return self.engine.condition(app.id) if app else None


def status_of(job: Job, found: Sequence[Container]) -> str:
    """Return the status that a job's containers show; nobody is at work on it."""
    if len(found) < max(1, len(job.container_ids)):
        return Status.LOST
    states = {container.state for container in found}
    if states == {"running"}:
        unhealthy = any(container.health == "unhealthy" for container in found)
        return Status.UNHEALTHY if unhealthy else Status.LAUNCHED
    if states & {"running", "paused", "restarting"}:
        app = _app(found)
        ended = app is not None and app.state in ("exited", "dead")
        return Status.EXITED if ended else Status.UNHEALTHY
    if job.status in (Status.STOPPED, Status.REGISTERED):
        return job.status
    return Status.EXITED


def _app(containers: Iterable[Container]) -> Container | None:
    """Return the one of a job's containers that runs the app."""
    return next((c for c in containers if c.labels.get(labels.ROLE) == "app"), None)


def _by_job(containers: Iterable[Container]) -> defaultdict[str, list[Container]]:
    """Sort containers by job, leaving out those that only pretend to belong to one."""
    found: defaultdict[str, list[Container]] = defaultdict(list)
    for container in containers:
        job_id = container.labels.get(labels.JOB_ID, "")
        if is_job_id(job_id) and container.name in (owner_name(job_id), app_name(job_id)):
            found[job_id].append(container)
    return found


def _first_status(owner: Container) -> str:
    """Return what to take a job for of which there is no record to say that it was stopped."""
    return Status.REGISTERED if owner.state == "created" else Status.LAUNCHED


def in_order(containers: Iterable[Container], *, reverse: bool = False) -> list[Container]:
    """Return a job's containers in the order to start them: the one that owns the port first."""
    return sorted(containers, key=lambda c: c.name.endswith("-app"), reverse=reverse)


def jobs_of_everybody(engine: Engine) -> list[Job]:
    """Return the jobs of all users as the labels of their containers tell."""
    jobs = []
    for containers in _by_job(engine.containers([labels.JOB_ID])).values():
        try:
            owner = in_order(containers)[0]
            job = labels.job_from(owner.labels, status=_first_status(owner))
        except JobctlError:
            continue
        status = status_of(job, containers)
        jobs.append(job.with_(status=status, container_ids=[c.id for c in in_order(containers)]))
    return jobs


def main_pid(engine: Engine, condition: Condition) -> int | None:
    """Return the host's process id of an app; the engine's own is that of the app's init."""
    if condition.pid is None or engine.local_socket is None:
        return condition.pid
    return hosts.first_child(condition.pid) or condition.pid


def published(containers: Iterable[Container]) -> Mapping[int, str]:
    """Return whose container holds each port, in words."""
    holders = {}
    for container in containers:
        owner, job_id = container.labels.get(labels.OWNER), container.labels.get(labels.JOB_ID, "")
        held = set(container.ports)
        words = f"the container {container.name}"
        if is_job_id(job_id):
            held.add(port_of(job_id))  # a stopped job keeps its port
            words = f"{owner}'s {job_id}"
        holders.update(dict.fromkeys(held, words))
    return holders
