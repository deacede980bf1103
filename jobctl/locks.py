"""Locks between jobctl processes of one user: who may change the records, who works on a job.

All are byte ranges of one file: byte 0 stands for ``connections.txt``, byte N for the job on port
N. They are open file description locks (``fcntl(2)``): the kernel releases them when the holder
ends, however it ends, so that none is ever stale, and there is no file per job to clean up.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobctl.errors import JobctlError

RECORDS = 0
# struct flock of 64-bit Linux: l_type, l_whence, l_start, l_len, l_pid.
_FLOCK = "hhqqi4x"
_POLL_S = 0.005


class Locks:
    """The locks below one user's directory."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "connections.lock"

    @contextmanager
    def held(self, byte: int, *, timeout: float = 30) -> Iterator[None]:
        """Hold a lock, waiting up to ``timeout`` seconds for it.

        Raises:
            JobctlError: another process kept it for all that time.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._path, flags, 0o600)
        try:
            deadline = time.monotonic() + timeout
            while not _try(descriptor, byte):
                if time.monotonic() >= deadline:
                    what = "the records" if byte == RECORDS else f"job_{byte}"
                    raise Busy(f"another jobctl is at work on {what}; try again in a moment")
                time.sleep(_POLL_S)
            yield
        finally:
            os.close(descriptor)

    def busy(self, byte: int) -> bool:
        """Tell whether some process, this one included, holds a lock."""
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return False
        try:
            wanted = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
            answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, wanted)
            return bool(struct.unpack(_FLOCK, answer)[0] != fcntl.F_UNLCK)
        finally:
            os.close(descriptor)


class Busy(JobctlError):
    """Another process holds the lock."""


def _try(descriptor: int, byte: int) -> bool:
    wanted = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, wanted)
    except BlockingIOError:
        return False
    return True
