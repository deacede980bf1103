"""One app put to the test: the job that was launched for it, and the ways in which a check ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from jobctl import startup
from jobctl.broker import Broker
from jobctl.engines.base import Details, Process
from jobctl.errors import EngineUnreachable, JobctlError
from jobctl.job import Job
from jobctl.orders import Order
from jobctl.probe import Target


class Failed(Exception):
    """The app does not conform; the message says what was seen, and what to do about it."""


class Unknown(Exception):
    """A check could not be made, or means nothing for this app; the message says why."""


@dataclass(frozen=True)
class Inspected:
    """One of the job's containers; ``role`` is what to call it."""

    id: str
    role: str
    details: Details


@dataclass
class Trial:
    """What the checks share. ``launched`` is the job, once there is one.

    ``strays`` are files and containers that belonged to no job before this one.
    """

    broker: Broker
    order: Order = field(repr=False)
    password: str = field(repr=False)
    launched: Job | None = None
    strays: frozenset[str] = frozenset()

    @property
    def job(self) -> Job:
        """The job; without one, nothing can be said of it."""
        if self.launched is None:
            raise Unknown("not checked: there is no job")
        return self.launched

    @property
    def behind_gateway(self) -> bool:
        """Whether there is a gateway beside the app."""
        return len(self.job.container_ids) > 1

    @property
    def target(self) -> Target:
        """Where the job answers, and what has to be seen there."""
        return startup.target(self.broker.ledger, self.job)

    def containers(self) -> Iterator[Inspected]:
        """Yield the job's containers, as they are now."""
        roles = ("gateway", "app") if self.behind_gateway else ("app",)
        for role, container in zip(roles, self.job.container_ids, strict=True):
            details = self.broker.engine.details(container)
            if details is None:
                raise JobctlError(f"the container of the {role} was removed meanwhile; try again")
            yield Inspected(container, role, details)

    def processes(self, container: Inspected) -> list[Process]:
        """Return the processes of one of the containers, as its engine knows them."""
        try:
            return self.broker.engine.processes(container.id)
        except EngineUnreachable:
            raise
        except JobctlError as error:
            # As of a rootless engine on a host with the older kind of control groups.
            raise Unknown(f"not checked: {error}") from None

    def clean_up(self) -> None:
        """Remove the job if it is still there."""
        job = self.launched
        if job is not None and job.job_id in self.broker.registry.read():
            self.broker.remove(job.job_id, force=True)
