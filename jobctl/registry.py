"""``connections.txt``: the user's record of their jobs, one JSON object a line."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from jobctl import jobfiles
from jobctl.errors import JobctlError, Unwritable
from jobctl.job import Job, from_dict, to_dict
from jobctl.locks import RECORDS, Locks


class Damage(msgspec.Struct, frozen=True):
    """What stands where records should: some lines, or the ``whole`` of it is no file of ours."""

    lines: list[bytes] = []
    whole: bool = False

    def __bool__(self) -> bool:
        return self.whole or bool(self.lines)


class _NotOurs(Exception):
    """What is in place of the records is nothing that the user's jobctl has written."""


class Registry:
    """The records of one user, below one directory.

    A line that is no job object is never dropped: the next change moves it to a file beside,
    ``connections.txt.damaged-MILLISECONDS``. So it does with the whole of what is in place of the
    records but no file of the user's: another user's, a directory, a link to somewhere else.
    """

    def __init__(self, directory: Path, locks: Locks) -> None:
        self.path = directory / "connections.txt"
        self.locks = locks
        # Most lines are as they were a moment ago, and a thousand take a while to read and write.
        self._jobs_by_line: dict[bytes, Job] = {}

    def read(self) -> dict[str, Job]:
        """Return the jobs on record by id, oldest first."""
        return self.parse()[0]

    @contextmanager
    def edit(self, *, durable: bool = True) -> Iterator[dict[str, Job]]:
        """Change the records under the lock: what the yielded dict holds at the end is written.

        An exception leaves the records as they were. Without ``durable`` the change survives a
        crash of this process but perhaps not of the host.
        """
        with self.locks.held(RECORDS):
            jobs, damaged = self.parse()
            before = dict(jobs)
            yield jobs
            if damaged:
                self._set_aside(damaged)
            if damaged or jobs != before or not self.path.exists():
                self._write(jobs, durable=durable)

    def put(self, job: Job, *, durable: bool = True) -> None:
        """Record a job, in place of what is on record under its id."""
        with self.edit(durable=durable) as jobs:
            jobs[job.job_id] = job

    def drop(self, job_id: str) -> None:
        """Forget a job."""
        with self.edit() as jobs:
            jobs.pop(job_id, None)

    def parse(self) -> tuple[dict[str, Job], Damage]:
        """Return the jobs on record by id, and what there is that is no job object."""
        try:
            lines = self._read().split(b"\n")
        except FileNotFoundError:
            return {}, Damage()
        except _NotOurs:
            return {}, Damage(whole=True)
        except OSError as error:
            raise JobctlError(
                f"can't read {self.path}: {error.strerror}; see: jobctl doctor"
            ) from None
        known, self._jobs_by_line = self._jobs_by_line, {}
        jobs: dict[str, Job] = {}
        damaged = []
        for line in filter(None, lines):
            try:
                job = known.get(line) or from_dict(msgspec.json.decode(line, type=dict))
            except (ValueError, RecursionError, JobctlError):
                damaged.append(line)
            else:
                jobs[job.job_id] = self._jobs_by_line[line] = job
        return jobs, Damage(lines=damaged)

    def _read(self) -> bytes:
        # Not blocking: a FIFO that nobody writes to is no reason to wait.
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            descriptor = os.open(self.path, flags)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO, errno.EACCES):
                raise _NotOurs from None
            raise
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            os.close(descriptor)
            raise _NotOurs
        with os.fdopen(descriptor, "rb") as file:
            return file.read()

    def _set_aside(self, damage: Damage) -> None:
        aside = self.path.with_name(f"{self.path.name}.damaged-{time.time_ns() // 10**6}")
        if not damage.whole:
            jobfiles.write_private(aside, b"\n".join(damage.lines) + b"\n")
            return
        try:
            self.path.rename(aside)
        except OSError as error:
            raise Unwritable(
                f"can't move {self.path} away: {error.strerror}; see: jobctl doctor"
            ) from None

    def _write(self, jobs: dict[str, Job], *, durable: bool) -> None:
        lines = {id(job): line for line, job in self._jobs_by_line.items()}
        written = {
            lines.get(id(job)) or msgspec.json.encode(to_dict(job)): job for job in jobs.values()
        }
        jobfiles.write_private(
            self.path, b"".join(line + b"\n" for line in written), durable=durable
        )
        self._jobs_by_line = written
