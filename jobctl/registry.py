"""``connections.txt``: the user's record of their jobs, one JSON object a line."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from jobctl import jobfiles
from jobctl.errors import JobctlError
from jobctl.job import Job, from_dict, to_dict
from jobctl.locks import RECORDS, Locks


class Registry:
    """The records of one user, below one directory.

    A line that is no job object is never dropped: the next change moves it to a file beside,
    ``connections.txt.damaged-SECONDS``.
    """

    def __init__(self, directory: Path, locks: Locks) -> None:
        self.path = directory / "connections.txt"
        self.locks = locks

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

    def parse(self) -> tuple[dict[str, Job], list[bytes]]:
        """Return the jobs on record by id, and the lines that are no job objects."""
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return {}, []
        except OSError as error:
            raise JobctlError(f"can't read {self.path}: {error.strerror}") from None
        jobs: dict[str, Job] = {}
        damaged = []
        for line in filter(None, lines):
            try:
                job = from_dict(msgspec.json.decode(line, type=dict))
            except (ValueError, RecursionError, JobctlError):
                damaged.append(line)
            else:
                jobs[job.job_id] = job
        return jobs, damaged

    def _set_aside(self, lines: list[bytes]) -> None:
        aside = self.path.with_name(f"{self.path.name}.damaged-{time.time_ns() // 10**6}")
        jobfiles.write_private(aside, b"\n".join(lines) + b"\n")

    def _write(self, jobs: dict[str, Job], *, durable: bool) -> None:
        lines = [msgspec.json.encode(to_dict(job)) + b"\n" for job in jobs.values()]
        jobfiles.write_private(self.path, b"".join(lines), durable=durable)
