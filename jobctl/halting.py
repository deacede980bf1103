"""Ending the containers of a job without waiting for what nobody needs to wait for.

Requests go side by side. Who is interrupted does not wait for them: the engine goes on by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobctl.engines.base import Engine

POLL_S = 0.005


def stop(engine: Engine, containers: Sequence[str]) -> None:
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
        stops.append(_Request(partial(engine.stop, container, grace=condition.stop_grace)))
        while stops[-1].under_way and not _has_ended(engine, condition.pid):
            stops[-1].wait(POLL_S)
        if stops[-1].error:  # an app that goes on keeps its gateway
            break
    _finish(stops)


def remove(engine: Engine, containers: Iterable[str]) -> None:
    """Kill and remove containers.

    Raises:
        JobctlError: what the engine says of the first that it could not remove.
    """
    _finish([_Request(partial(engine.remove, container)) for container in containers])


class _Request:
    """A request under way; keeps what goes wrong for who waits."""

    def __init__(self, make: Callable[[], None]) -> None:
        self._make = make
        self._thread = Thread(target=self._run, daemon=True)
        self.error: BaseException | None = None
        try:
            self._thread.start()
        except RuntimeError:  # on a host where all threads are taken, which is when jobs must go
            self._run()

    def _run(self) -> None:
        try:
            self._make()
        except BaseException as error:
            self.error = error

    @property
    def under_way(self) -> bool:
        return self._thread.is_alive()

    def wait(self, timeout: float | None = None) -> None:
        """Return when it is over, or after so many seconds."""
        if self.under_way:
            self._thread.join(timeout)


def _finish(requests: Sequence[_Request]) -> None:
    for request in requests:
        request.wait()
    for request in requests:
        if request.error:
            raise request.error


def _has_ended(engine: Engine, pid: int | None) -> bool:
    """Tell whether a process has ended, where that can be seen from here."""
    return None not in (engine.local_socket, pid) and not Path(f"/proc/{pid}").exists()
