"""What is handed out of many jobs: to each of a class how to get in, as CSV or JSON in a file.

The file holds passwords that are nowhere else: it is born readable by nobody but the caller, and
never put in place of another.
"""

from __future__ import annotations

import csv
import errno
import io
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from jobctl import jobfiles
from jobctl.errors import JobctlError, Unwritable, UsageError
from jobctl.job import Job
from jobctl.passwords import user_of

SUFFIXES = (".csv", ".json")


class Entry(NamedTuple):
    """How to get at one job; ``password`` if it was made up for it. Fingerprints are SHA-256."""

    number: int
    job_id: str
    open_url: str
    url: str
    user: str | None
    password: str | None
    tls_fingerprint: str | None
    ca_fingerprint: str


def entry(number: int, job: Job, password: str | None, ca_fingerprint: str) -> Entry:
    """Return what is handed out of a job."""
    return Entry(
        number=number,
        job_id=job.job_id,
        open_url=job.open_url or job.url,
        url=job.url,
        user=user_of(job.password_hash) if job.password_hash else None,
        password=password if job.password_hash else None,
        tls_fingerprint=job.tls_fingerprint,
        ca_fingerprint=ca_fingerprint,
    )


def render(entries: Iterable[Entry], suffix: str) -> bytes:
    """Return entries as a file with that suffix has them: a head and a line each, or an array."""
    if suffix == ".json":
        rows = [one._asdict() for one in entries]
        return (json.dumps(rows, indent=2, ensure_ascii=False) + "\n").encode()
    text = io.StringIO()
    # Lines end as text files of this system have it; RFC 4180 has CRLF, and its readers take both.
    table = csv.writer(text, lineterminator="\n")
    table.writerow(Entry._fields)
    table.writerows(entries)
    return text.getvalue().encode()


class HandOut:
    """A file that is this command's from the beginning on, and gone if there is nothing in it."""

    def __init__(self, path: Path) -> None:
        """Make the file.

        Raises:
            UsageError: its name has neither suffix.
            JobctlError: it can't be made, or there is one already.
        """
        self.path = path
        self._suffix = path.suffix.lower()
        if self._suffix not in SUFFIXES:
            raise UsageError(f'"{path}" to hand out: expected a name that ends with .csv or .json')
        # Beside it is where its successors are written, in place of what is there.
        beside = path.with_name(f"{path.name}.new")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            if os.path.lexists(beside):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(beside))
            os.close(os.open(path, flags, 0o600))
        except FileExistsError as error:
            raise JobctlError(
                f"{error.filename} is there already, with passwords perhaps that are nowhere "
                "else; move it away, or choose another name"
            ) from None
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise Unwritable(f"can't write {path}: {reason}; choose another place") from None

    def write(self, entries: Sequence[Entry], *, durable: bool = False) -> None:
        """Put entries in place of those that are in the file; ``durable`` as for private files.

        Raises:
            Unwritable: that fails; those that are in it stay.
        """
        jobfiles.write_private(self.path, render(entries, self._suffix), durable=durable)

    def discard(self) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)
