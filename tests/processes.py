"""All processes of this host, as anybody sees them who looks often enough."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class Watch:
    """Looks at command lines and environments, over and over, and keeps each that it saw."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self._known: set[tuple[str, bytes]] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._go_on)

    def look(self) -> None:
        """Look once."""
        for process in filter(str.isdecimal, os.listdir("/proc")):  # noqa: PTH208, half the time
            with suppress(OSError):  # it has ended, or is another user's
                command = Path("/proc", process, "cmdline").read_bytes()
                if (process, command) not in self._known:
                    self._known.add((process, command))
                    self.seen.add(command)
                    self.seen.add(Path("/proc", process, "environ").read_bytes())

    def _go_on(self) -> None:
        while not self._ended.wait(0.005):
            self.look()

    @contextmanager
    def going_on(self) -> Iterator[Watch]:
        """Look all the time in which the block runs."""
        self._thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            self._thread.join()
