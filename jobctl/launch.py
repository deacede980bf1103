"""Launching a job: record, files, claim of the port, start. Undone as a whole when a step fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace

from jobctl import containers, hosts, orders, probe, startup
from jobctl.durations import seconds
from jobctl.errors import ClaimLost
from jobctl.job import Job, Status, job_id_of
from jobctl.ledger import Ledger
from jobctl.locks import Busy
from jobctl.preparation import Preparation
from jobctl.progress import Report, Step
from jobctl.schema import Section


def _agreed(_job: Job) -> None:
    """Let a job be launched."""


@dataclass(frozen=True, kw_only=True)
class Launch:
    """One app about to be launched; ``password_line`` is what its password file will hold.

    Without a ``secret`` it has yet to be ``protected``. ``ttl`` is how many seconds after its
    launch it ends. ``checkpoint`` is called between steps and while waiting, ``agreed`` with the
    job once it is verified: what they raise undoes the launch.
    """

    preparation: Preparation
    owner: str
    bind_address: str
    job_domain: str | None
    ttl: int | None
    report: Report
    password_line: str | None = field(default=None, repr=False)
    secret: probe.Secret | None = field(default=None, repr=False)
    checkpoint: Callable[[], None] = startup.going_on
    agreed: Callable[[Job], None] = _agreed

    @property
    def ledger(self) -> Ledger:
        return self.preparation.ledger

    @property
    def section(self) -> Section:
        return self.preparation.section

    def protected(self) -> Launch:
        """Return this launch with its password; it may be asked for, and takes time to hash.

        Raises:
            JobctlError: there is none, or it can't be used; see ``jobctl.orders.password``.
        """
        order, app = self.preparation.order, self.preparation.app
        line, secret = orders.password(order, app, owner=self.owner)
        return replace(self, password_line=line, secret=secret)

    def run(self, ports: Iterator[int]) -> Job:
        """Launch on the first port that nobody else holds, and verify.

        Raises:
            JobctlError: it failed, and nothing of it is left.
        """
        self.ledger.place.check_verifiable(self.bind_address)
        ready = self if self.secret else self.protected()
        return ready._on_first_free(ports, intent="run", launch=True)

    def register(self, ports: Iterator[int]) -> Job:
        """Do all of the above but start and verify: the job keeps its port until it is launched."""
        ready = self if self.secret else self.protected()
        return ready._on_first_free(ports, intent="register", launch=False)

    def _on_first_free(self, ports: Iterator[int], *, intent: str, launch: bool) -> Job:
        self.report(Step(f"launching {self.preparation.app.name}", passing=True))
        for port in ports:
            self.checkpoint()
            with suppress(ClaimLost, Busy):
                return self._on(port, intent=intent, launch=launch)
        raise AssertionError("ports end with an error")

    def _on(self, port: int, *, intent: str, launch: bool) -> Job:
        ledger = self.ledger
        with ledger.locks.held(port, timeout=0), ExitStack() as undo:
            job = self._record(port, intent)
            # One undo for all steps, since it is also what the next command does after a kill.
            undo.callback(ledger.erase, job.job_id)
            undo.callback(self.report, Step("undoing it", depth=1, passing=True))
            self.report(Step("making the certificate", depth=1))
            job = self.preparation.write_files(job)
            self.checkpoint()
            self.report(Step(f"claiming port {port}", depth=1))
            job = self.preparation.create_containers(job)
            self.checkpoint()
            if launch:
                if self.secret is None:
                    raise AssertionError("whatever is launched is protected")
                job = startup.start(
                    ledger,
                    job,
                    self.secret,
                    timeout=self.section.launch_timeout,
                    report=self.report,
                    checkpoint=self.checkpoint,
                )
                self.agreed(job)
            job = job.with_(intent=None)
            ledger.registry.put(job)
            undo.pop_all()
            return job

    def _record(self, port: int, intent: str) -> Job:
        """Write the record before anything exists that it speaks of."""
        app, protocol = self.preparation.app, self.section.protocol
        place = self.ledger.place
        url, open_url = hosts.urls(
            protocol,
            self.bind_address,
            port,
            self.job_domain if place.here else None,
            exposed_as=place.name,
        )
        now, idle_timeout = int(time.time()), self.section.idle_timeout
        job = Job(
            job_id=job_id_of(port),
            app=app.name,
            port=str(port),
            protocol=protocol,
            host=place.host,
            owner=self.owner,
            job_root=self.ledger.job_root,
            app_path=self.section.server_path,
            password_hash=self.password_line,
            hash_algorithm=self.section.hash_algorithm if self.password_line else None,
            status=Status.REGISTERED,
            creation_timestamp=now,
            expires=None if self.ttl is None else now + self.ttl,
            idle_timeout=None if idle_timeout is None else seconds(idle_timeout),
            url=url,
            open_url=open_url,
            bind_address=self.bind_address,
            engine=self.ledger.engine.name,
            engine_id=self.ledger.engine_id,
            image=containers.image_of(app.name, self.section),
            app_port=self.section.app_port or port,
            ready_path=self.section.ready_path,
            login_path=self.section.login_path if self.password_line else None,
            relaxed=[*containers.relaxed(self.section), *self.ledger.relaxed],
            intent=intent,
        )
        with self.ledger.registry.edit() as jobs:
            if job.job_id in jobs:
                raise ClaimLost(f"you have {job.job_id} on record already; choose another --port")
            jobs[job.job_id] = job
        return job
