"""The data file as a stream of versions: reads it, watches it, keeps the last tree that parsed.

Who is told of a change is `live`'s business.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from watchfiles import awatch

from conduit_relay.node import DataError, Node, changed_paths
from conduit_relay.protocols import load

log = logging.getLogger("conduit_relay")

_MOST_PATHS = 200  # beyond this a change is announced as "everything"
_POLL_SECONDS = 2.0  # network file systems don't report what other hosts write
_QUIET_MS = 50
_GRACE_SECONDS = 0.25  # a writer gets this long to finish before a bad file is announced

_Stamp = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Snapshot:
    """One good version of the data."""

    version: int
    tree: Node
    protocol: str
    loaded_at: float


@dataclass(frozen=True)
class Change:
    """What a reload brought: the paths that differ (None: too many to list), or what is wrong."""

    version: int
    paths: list[str] | None
    error: str | None


class Source:
    """One data file: `snapshot` is its last good version, `error` the fault of a newer one."""

    def __init__(self, path: Path, protocol: str | None = None) -> None:
        """Read the file; raises DataError when there is nothing to show."""
        self.path = path
        self.error: str | None = None
        self._protocol = protocol
        self._stamp = _stamp(path)
        chosen, tree = load(path, protocol)
        self.snapshot = Snapshot(1, tree, chosen, time.time())

    async def changes(self) -> AsyncIterator[Change]:
        """Yield each change of the data, or of what is wrong with the file, until cancelled."""
        async for _ in self._wakeups():
            if (stamp := _stamp(self.path)) == self._stamp:
                continue
            change = await self._reload()
            if change and change.error and stamp != (later := await self._after_grace()):
                # Still being written: the next version speaks for itself.
                self._stamp, change = later, await self._reload()
            else:
                # Taken before reading: a write during the reading differs from it and is seen next.
                self._stamp = stamp
            if change:
                yield change

    async def _after_grace(self) -> _Stamp:
        await asyncio.sleep(_GRACE_SECONDS)
        return _stamp(self.path)

    async def _reload(self) -> Change | None:
        current = self.snapshot
        try:
            protocol, tree = await asyncio.to_thread(load, self.path, self._protocol)
        except DataError as error:
            return self._failed(str(error))
        differing = await asyncio.to_thread(
            lambda: list(islice(changed_paths(current.tree, tree), _MOST_PATHS + 1))
        )
        recovered, self.error = self.error is not None, None
        if not differing and not recovered:
            return None
        if differing:
            self.snapshot = Snapshot(current.version + 1, tree, protocol, time.time())
            log.info("version %d of %s loaded", self.snapshot.version, self.path)
        paths = differing if len(differing) <= _MOST_PATHS else None
        return Change(self.snapshot.version, paths, None)

    def _failed(self, message: str) -> Change | None:
        if message == self.error:
            return None
        self.error = message
        log.warning("still showing version %d: %s", self.snapshot.version, message)
        return Change(self.snapshot.version, [], message)

    async def _wakeups(self) -> AsyncIterator[None]:
        # The directory, since a rename replaces the file itself; and that of a link's target.
        directories = {self.path.absolute().parent, self.path.resolve().parent}
        try:
            async for _ in awatch(
                *directories,
                watch_filter=None,
                step=_QUIET_MS,
                debounce=10 * _QUIET_MS,
                rust_timeout=int(_POLL_SECONDS * 1000),
                yield_on_timeout=True,
                recursive=False,
            ):
                yield
        except OSError as error:  # no inotify watches left, or the directory is gone
            log.warning("cannot watch %s (%s): polling it", self.path, error)
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            yield


def _stamp(path: Path) -> _Stamp:
    """What changes with the file: inode (rename), size and time of writing."""
    try:
        status = path.stat()
    except OSError:
        return (0, 0, 0)
    return (status.st_ino, status.st_size, status.st_mtime_ns)
