"""Stopping containers one after the other, without waiting for what nobody needs to wait for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobctl.engines.base import Engine

POLL_S = 0.005


def halt(engine: Engine, containers: Sequence[str]) -> None:
    """Stop containers in order: each once the process of the one before has ended.

    An app keeps its network until it is done. What the engine does after that, clearing up, takes
    longer than most apps and is not waited for before the next one is stopped.

    Raises:
        JobctlError: what the engine says of the first that it could not stop.
    """
    stops = []
    for container in containers:
        condition = engine.condition(container)
        if condition is None:
            continue
        stop = _Stop(engine, container, grace=condition.stop_grace)
        stops.append(stop)
        stop.start()
        while stop.is_alive() and not _has_ended(engine, condition.pid):
            stop.join(POLL_S)
    for stop in stops:
        stop.join()
    for stop in stops:
        if stop.error:
            raise stop.error


class _Stop(Thread):
    """Stops a container. Nobody waits for it who is interrupted: the engine goes on by itself."""

    def __init__(self, engine: Engine, container: str, *, grace: int) -> None:
        super().__init__(daemon=True)
        self._engine, self._container, self._grace = engine, container, grace
        self.error: BaseException | None = None

    def run(self) -> None:
        """Keep what goes wrong for who waits."""
        try:
            self._engine.stop(self._container, grace=self._grace)
        except BaseException as error:
            self.error = error


def _has_ended(engine: Engine, pid: int | None) -> bool:
    """Tell whether a process has ended, where that can be seen from here."""
    return None not in (engine.local_socket, pid) and not Path(f"/proc/{pid}").exists()
