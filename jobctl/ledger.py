"""The user's jobs as they are: the records and the engine's containers, brought into agreement.

Every command that reads both comes through here, so that whatever a killed process, a lost
``connections.txt`` or a container removed behind our back left is put right by the next one.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from jobctl import halting, jobfiles, labels, lifetimes, place
from jobctl.errors import JobctlError, Unwritable
from jobctl.job import Job, Status, is_job_id, port_of
from jobctl.labels import app_name, owner_name
from jobctl.locks import Busy
from jobctl.observation import (
    app_condition,
    app_of,
    in_order,
    main_pid,
    observe,
    placed,
    status_of,
)
from jobctl.place import Place
from jobctl.progress import Report
from jobctl.registry import Registry

if TYPE_CHECKING:
    from jobctl.engines.base import Container, Engine, Facts


def silent(_line: str) -> None:
    """Report nothing."""


class Ledger:
    """One user's directory on one engine."""

    def __init__(self, registry: Registry, engine: Engine, report: Report = silent) -> None:
        self.registry = registry
        self.engine = engine
        self.report = report
        self.directory = registry.path.parent
        self.locks = registry.locks
        self._seen_here: set[tuple[str, str | None]] = set()

    @property
    def job_root(self) -> str:
        """The directory as the job object has it: with a slash at its end."""
        return f"{self.directory}/"

    @cached_property
    def engine_id(self) -> str:
        """What tells the engine from others."""
        return f"{self.facts.host}:{self.facts.data_root}"

    @cached_property
    def facts(self) -> Facts:
        """What the engine says of itself."""
        return self.engine.facts()

    @cached_property
    def relaxed(self) -> list[str]:
        """Where the engine confines each job less than it is asked to, in words."""
        limits = sorted(self.facts.unlimited - {"swap"})
        return [*self.engine.traits.relaxed, *(f"unlimited {what}" for what in limits)]

    @cached_property
    def place(self) -> Place:
        """Where the engine's jobs run; of a cluster, each job itself says where it does."""
        here = self.engine.local_socket is not None or self.engine.traits.cluster
        return place.of(self.facts, here=here)

    def elsewhere(self, job: Job) -> bool:
        """Tell whether a job is on another engine than this one, which knows nothing of it."""
        # The engine takes its time to say who it is; containers tell which one made them.
        if (job.job_id, job.engine_id) in self._seen_here:
            return False
        return job.engine_id not in (None, self.engine_id)

    def recorded(self) -> dict[str, Job]:
        """Return the jobs by id as they are on record, put right where something is half-done.

        For who needs to know which there are, not how they do: no request to the engine, of which
        each container that it lists takes some time.
        """
        seen, damaged = self.registry.parse()
        unsettled = damaged or any(job.intent is not None for job in seen.values())
        if unsettled or not set(seen) >= self._with_files():
            return self.reconcile()
        return seen

    def reconcile(self) -> dict[str, Job]:
        """Put the records right and return the jobs by id.

        A job that another process is at work on right now is left as recorded, and so is one of
        another engine.
        """
        # Records first: a job that is recorded after this look has its containers in the list.
        seen, damaged = self.registry.parse()
        listed = self.containers()
        self._seen_here = {
            (job_id, container.labels.get(labels.ENGINE_ID))
            for job_id, found in listed.items()
            for container in found
        }
        unsettled = [
            job_id
            for job_id in {**seen, **listed}
            if job_id not in seen or seen[job_id].intent is not None
        ]
        changes = {
            job.job_id: observe(self.engine, job, listed.get(job.job_id, []))
            for job in seen.values()
            if job.intent is None and not self._is_another(job, listed.get(job.job_id, []))
        }
        unsettled += self._with_files().difference(seen, listed)
        try:
            if damaged or any(changes[job_id] != seen[job_id] for job_id in changes):
                with self.registry.edit() as jobs:
                    for job_id, job in changes.items():
                        if jobs.get(job_id) == seen[job_id]:
                            jobs[job_id] = job
            for job_id in unsettled:
                self._settle(job_id)
            for job_id, job in changes.items():
                self._bring_together(job, listed.get(job_id, []))
        except Unwritable as error:
            # What there is can be told all the same; the records are put right another time.
            self.report(f"{error}; this is how it is, whatever the records say")
            return {**seen, **changes}
        return self.registry.read() if unsettled else {**seen, **changes}

    def _with_files(self) -> set[str]:
        return set(filter(is_job_id, jobfiles.job_ids(self.directory)))

    def look(self) -> list[Job]:
        """Return the user's jobs on this engine as they are, and put nothing right."""
        seen, listed = self.registry.read(), self.containers()
        return [
            observe(self.engine, job, listed.get(job.job_id, []))
            for job in seen.values()
            if not self._is_another(job, listed.get(job.job_id, []))
        ]

    def containers(self, job_id: str | None = None) -> defaultdict[str, list[Container]]:
        """Return the containers of the user's jobs, or of one job, by job id."""
        return _by_job(self.engine.containers(self._labels(job_id)))

    def _labels(self, job_id: str | None) -> list[str]:
        """Return what tells the containers of this user's jobs, or of one of them, from others."""
        wanted = f"{labels.JOB_ID}={job_id}" if job_id else labels.JOB_ID
        return [wanted, f"{labels.JOB_ROOT}={self.job_root}"]

    def _own_containers(self, job_id: str) -> list[Container]:
        """Return the containers of a job, unless this engine has another job of that name.

        On two hosts a directory may have the same name, and each its own ``job_8000``.
        """
        found = self.containers(job_id)[job_id]
        job = self.registry.read().get(job_id)
        return [] if job and self._is_another(job, found) else found

    def _is_another(self, job: Job, found: Sequence[Container]) -> bool:
        return self.elsewhere(job) and not {one.id for one in found} & {*job.container_ids}

    def erase(self, job_id: str) -> None:
        """Remove all there is of a job: containers, files, record, in this order.

        Whatever stops it half-way, the record still says that there is something to remove.
        """
        from jobctl.engines.base import FILES_LABEL

        found = in_order(self._own_containers(job_id), reverse=True)
        halting.remove(self.engine, [container.id for container in found])
        left = self.engine.local_socket is None or self.engine.traits.cluster
        if left or any(FILES_LABEL in one.labels for one in found):
            self.engine.sweep(self._labels(job_id))
        jobfiles.remove(self.directory, job_id)
        self.registry.drop(job_id)

    @contextmanager
    def at_work(self, job: Job, intent: str) -> Iterator[None]:
        """Have on record what is about to be done to a job, until it is. Callers have its lock."""
        try:
            self.registry.put(job.with_(intent=intent))
        except Unwritable as error:
            # What frees a full disk must not need room on it.
            if intent not in ("stop", "remove"):
                raise
            self.report(f"{error}; going on all the same")
            yield
            return
        try:
            yield
        finally:
            with self.registry.edit() as jobs:
                if (left := jobs.get(job.job_id)) and left.intent == intent:
                    jobs[job.job_id] = left.with_(intent=None)

    def halt(self, job: Job, *, reason: str | None = None) -> Job:
        """Stop a job's containers, the app first, and record it as stopped."""
        containers = in_order(self.containers(job.job_id)[job.job_id], reverse=True)
        halting.stop(self.engine, [container.id for container in containers])
        condition = app_condition(self.engine, containers)
        stopped = job.with_(
            status=Status.STOPPED,
            reason=reason,
            intent=None,
            pid=None,
            ended_at=(job.ended_at if job.ended else None) or int(time.time()),
            exit_code=condition.exit_code if condition else None,
        )
        try:
            self.registry.put(stopped)
        except Unwritable as error:
            self.report(f"{job.job_id} is stopped, but {error}")
        return stopped

    def _bring_together(self, job: Job, found: Sequence[Container]) -> None:
        """Let a container follow the one that it joins, which its cluster has on another host."""
        for container in found:
            if not container.apart or job.ended:
                continue
            self.report(f"{job.job_id} went to {job.host}, its app is brought there")
            with suppress(Busy, JobctlError), self.locks.held(port_of(job.job_id), timeout=0):
                self.engine.start(container.id)

    def _settle(self, job_id: str) -> None:
        """Finish or undo what a process left half-done, if it is no longer at it."""
        try:
            with self.locks.held(port_of(job_id), timeout=0):
                job = self.registry.read().get(job_id)
                found = self.containers(job_id)[job_id]
                if job is None:
                    self._adopt(job_id, found)
                elif self.elsewhere(job):
                    return
                elif job.intent in ("stop", "start"):
                    self.halt(job)
                elif job.intent in ("run", "register", "remove"):
                    self.erase(job_id)
                # What a newer jobctl was about to do is for that one to finish.
        except Busy:
            return

    def _adopt(self, job_id: str, found: Sequence[Container]) -> None:
        """Write the record of containers that have none, or remove what is a fragment of a job.

        Anybody may label a container as if it were this user's; what only this user can have made
        is the job's certificate, in a directory that nobody else can write to.
        """
        certificate = self.directory / f"{job_id}.crt"
        owner = next((c for c in found if c.name == owner_name(job_id)), None)
        if found and not certificate.exists():
            # The engine may carry out what a killed launch had asked for after that was undone.
            if all(container.state == "created" for container in found):
                self.erase(job_id)
            return
        if owner is None or app_of(found) is None:
            self.erase(job_id)
            return
        try:
            job = labels.job_from(owner.labels, status=_first_status(owner))
        except JobctlError:
            return
        app = app_condition(self.engine, found)
        job = job.with_(
            password_hash=_first_line(self.directory / f"{job_id}_htpasswd"),
            container_ids=[c.id for c in in_order(found)],
            pid=main_pid(self.engine, app) if app else None,
            tls_fingerprint=_fingerprint(certificate) or job.tls_fingerprint,
            expires=lifetimes.kept_end(self.directory, job),
        )
        self.registry.put(observe(self.engine, job, found))


def _fingerprint(certificate: Path) -> str | None:
    """Return that of a job's certificate; the label has the one that it was launched with."""
    from jobctl import certs

    try:
        return certs.fingerprint(certificate.read_bytes())
    except (OSError, ValueError):
        return None


def _first_line(password_file: Path) -> str | None:
    try:
        return password_file.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None


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


def jobs_of_everybody(engine: Engine) -> list[Job]:
    """Return the jobs of all users as the labels of their containers tell.

    In one request: whether a gateway was restarted without its app is for its owner's look, and
    for the health check.
    """
    jobs = []
    for containers in _by_job(engine.containers([labels.JOB_ID])).values():
        try:
            owner = in_order(containers)[0]
            job = labels.job_from(owner.labels, status=_first_status(owner))
        except JobctlError:
            continue
        job = job.with_(container_ids=[c.id for c in in_order(containers)])
        status, reason = status_of(job, containers)
        app = app_of(containers)
        code = app.exit_code if app and status == Status.EXITED else None
        told = job.with_(status=status, reason=reason, exit_code=code, endpoint_id=owner.endpoint)
        jobs.append(placed(told, containers))
    return jobs


def published(containers: Iterable[Container]) -> Mapping[int, str]:
    """Return whose container holds each port, in words."""
    holders = {}
    for container in containers:
        owner, job_id = container.labels.get(labels.OWNER), container.labels.get(labels.JOB_ID, "")
        held = set(container.ports)
        words = f"the container {container.name}"
        if is_job_id(job_id):
            held.add(port_of(job_id))  # a stopped job keeps its port
            words = f"{owner}'s {job_id}" if str(owner).isprintable() else words
        holders.update(dict.fromkeys(held, words))
    return holders
