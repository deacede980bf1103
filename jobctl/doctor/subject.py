"""What is looked at: this host, its engine, the caller's configuration and records.

Looking changes nothing. Each part is got when it is first asked for; one that can't be had is not
asked for twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from jobctl import config
from jobctl.broker import Broker
from jobctl.config import Config
from jobctl.doctor.finding import NotSeen
from jobctl.engines.base import Container, Engine, Facts
from jobctl.errors import JobctlError
from jobctl.job import Job
from jobctl.ledger import Ledger, silent
from jobctl.locks import Locks
from jobctl.registry import Registry
from jobctl.schema import EngineKind

T = TypeVar("T")


@dataclass
class Subject:
    """The host as one user sees it, with the configuration file ``path`` and an engine.

    Which engine that is, ``engine_kind`` and ``context`` say as to the broker.
    The properties raise ``NotSeen`` where there is nothing to look at, ``connect`` and ``load``
    tell why.
    """

    path: Path
    given_engine: Engine | None = field(default=None, repr=False)
    report: Callable[[str], None] = silent
    engine_kind: EngineKind | None = None
    context: str | None = None

    @cached_property
    def _engine(self) -> Engine | JobctlError:
        from jobctl.engines.endpoints import connect

        kind = self.engine_kind
        if kind is None:
            # Whatever is wrong with the file, there is an engine to look at.
            known = self._config
            kind = "docker" if isinstance(known, JobctlError) else known.general.engine
        return _tried(lambda: self.given_engine or connect(kind, context=self.context))

    @cached_property
    def _config(self) -> Config | JobctlError:
        return _tried(lambda: config.load(self.path))

    @cached_property
    def _catalogue(self) -> Config | JobctlError:
        return _tried(lambda: Broker(_had(self._config)).catalogue)

    def connect(self) -> Engine:
        """Return the engine.

        Raises:
            EngineUnreachable: none answers.
        """
        return _had(self._engine)

    def load(self) -> Config:
        """Return the configuration, with the apps of plugins.

        Raises:
            JobctlError: it can't be used, or a plugin can't.
        """
        return _had(self._catalogue)

    @property
    def engine(self) -> Engine:
        if isinstance(self._engine, JobctlError):
            raise NotSeen("no engine answers")
        return self._engine

    @cached_property
    def facts(self) -> Facts:
        """What the engine says of itself."""
        return self._facts_then[0]

    @property
    def facts_at(self) -> float:
        """When it said so by this host's clock, in seconds since the epoch."""
        return self._facts_then[1]

    @cached_property
    def _facts_then(self) -> tuple[Facts, float]:
        before = time.time()
        facts = self.engine.facts()
        return facts, (before + time.time()) / 2

    @property
    def catalogue(self) -> Config:
        if isinstance(self._catalogue, JobctlError):
            raise NotSeen("the configuration can't be used")
        return self._catalogue

    @property
    def broker(self) -> Broker:
        """What the caller's commands work with; for what it knows, since it puts records right."""
        if isinstance(self._config, JobctlError):
            raise NotSeen("the configuration can't be used")
        engine = None if isinstance(self._engine, JobctlError) else self._engine
        return Broker(self._config, self.report, engine)

    @property
    def registry(self) -> Registry:
        directory = self.broker.directory
        return Registry(directory, Locks(directory))

    @cached_property
    def ledger(self) -> Ledger:
        return Ledger(self.registry, self.engine)

    @cached_property
    def containers(self) -> list[Container]:
        """All containers of the engine, whosever they are."""
        return self.engine.containers()

    @cached_property
    def jobs(self) -> list[Job]:
        """The caller's jobs as they are on record."""
        return list(self.registry.read().values())

    @property
    def live_jobs(self) -> list[Job]:
        """Those that have not ended, as far as is on record."""
        return [job for job in self.jobs if not job.ended]


def _tried(get: Callable[[], T]) -> T | JobctlError:
    try:
        return get()
    except JobctlError as error:
        return error


def _had(result: T | JobctlError) -> T:
    if isinstance(result, JobctlError):
        raise result
    return result
