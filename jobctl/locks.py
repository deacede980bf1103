"""Locks between jobctl processes of one user: who may change the records, who works on a job.

All are byte ranges of one file: byte 0 stands for ``connections.txt``, byte N for the job on port
N. They are open file description locks (``fcntl(2)``): the kernel releases them when the holder
ends, however it ends, so that none is ever stale, and there is no file per job to clean up.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobctl import ownership
from jobctl.errors import JobctlError, Unwritable

RECORDS = 0
# struct flock of 64-bit Linux: l_type, l_whence, l_start, l_len, l_pid.
_FLOCK = "hhqqi4x"
_POLL_S = 0.005
# A symbolic link, a directory, a socket or a device without a driver.
_NO_FILE = (errno.ELOOP, errno.EISDIR, errno.ENXIO)


class Locks:
    """The locks below one user's directory.

    Both methods raise a ``JobctlError`` if the lock file is not an ordinary one of the caller's.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / "connections.lock"

    @contextmanager
    def held(self, byte: int, *, timeout: float = 30) -> Iterator[None]:
        """Hold a lock, waiting up to ``timeout`` seconds for it.

        Raises:
            Busy: another process kept it for all that time.
            Unwritable: the file system is read-only or full, or has no locks.
        """
        with self._telling():
            descriptor = self._open(os.O_RDWR | os.O_CREAT)
        try:
            deadline = time.monotonic() + timeout
            while not self._try(descriptor, byte):
                if time.monotonic() >= deadline:
                    what = "the records" if byte == RECORDS else f"job_{byte}"
                    raise Busy(f"another jobctl is at work on {what}; try again in a moment")
                time.sleep(_POLL_S)
            yield
        finally:
            os.close(descriptor)

    def busy(self, byte: int) -> bool:
        """Tell whether some process, this one included, holds a lock; writes nothing."""
        with self._telling():
            try:
                descriptor = self._open(os.O_RDONLY)
            except FileNotFoundError:
                return False
            try:
                answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _wanted(byte))
            finally:
                os.close(descriptor)
        return bool(struct.unpack(_FLOCK, answer)[0] != fcntl.F_UNLCK)

    def _open(self, flags: int) -> int:
        # Not following links, and not waiting for whoever is at the other end of a FIFO.
        flags |= os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(self._path, flags, 0o600)
        try:
            found = os.fstat(descriptor)
            ownership.check_own(found, self._path)
            if found.st_nlink > 1:
                raise JobctlError(f"{self._path} has other names (hard links); move it away")
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _try(self, descriptor: int, byte: int) -> bool:
        with self._telling():
            try:
                fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _wanted(byte))
            except BlockingIOError:
                return False
        return True

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in _NO_FILE:
                raise JobctlError(f"{self._path} is no ordinary file; move it away") from None
            raise Unwritable(
                f"can't lock {self._path}: {error.strerror}; see: jobctl doctor"
            ) from None


class Busy(JobctlError):
    """Another process holds the lock."""


def _wanted(byte: int) -> bytes:
    return struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
