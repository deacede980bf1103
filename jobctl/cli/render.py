"""What a person or a script gets to see: tables, records, JSON. Returns text, prints nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from jobctl.job import Job, to_dict

if TYPE_CHECKING:
    from jobctl.images import ListedImage

_AGES = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def clean(text: str) -> str:
    """Return text without control characters: a log line must not drive the user's terminal."""
    return "".join(
        c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def as_json(value: Any) -> str:
    """Return indented JSON."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def jobs_json(jobs: Iterable[Job], *, reveal: bool = False) -> str:
    """Return a JSON array of job objects."""
    return as_json([to_dict(job, reveal=reveal) for job in jobs])


def job_json(job: Job, *, reveal: bool = False) -> str:
    """Return one job object as JSON."""
    return as_json(to_dict(job, reveal=reveal))


def jobs_table(jobs: Iterable[Job], *, owners: bool = False) -> str:
    """Return the table of ``jobctl ps``."""
    head = ["JOB", *(["OWNER"] if owners else []), "APP", "STATUS", "AGE", "URL"]
    rows = [
        [job.job_id, *([job.owner] if owners else []), job.app, status(job), age(job), job.url]
        for job in jobs
    ]
    return table(head, rows)


def record(job: Job, *, reveal: bool = False) -> str:
    """Return one job, a key a line."""
    values = to_dict(job, reveal=reveal)
    width = max(map(len, values))
    return clean("\n".join(f"{key:<{width}}  {_plain(value)}" for key, value in values.items()))


def images_table(images: Iterable[ListedImage]) -> str:
    """Return the table of ``jobctl images ls``."""
    rows = [
        [
            image.tag,
            ("current" if image.current else "outdated") if image.present else "not built",
            "-" if image.size is None else size(image.size),
            (image.id or "-").removeprefix("sha256:")[:12],
        ]
        for image in images
    ]
    return table(["IMAGE", "STATE", "SIZE", "ID"], rows)


def status(job: Job) -> str:
    """Return a job's status with what explains it."""
    if job.intent is not None and job.intent != "run":
        return f"{job.status} ({job.intent} under way)"
    return job.status if job.exit_code is None else f"{job.status} ({job.exit_code})"


def age(job: Job) -> str:
    """Return how long ago a job was created, in words."""
    seconds = max(0, int(time.time()) - job.creation_timestamp)
    for length, unit in _AGES:
        if seconds >= length:
            count = seconds // length
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return "now"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return columns as wide as they have to be."""
    lines = [head, *([clean(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def size(count: int) -> str:
    """Return a number of bytes in the unit that fits."""
    amount = float(count)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"


def compact(value: Any) -> str:
    """Return a value on one line, text without quotes."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _plain(value: Any) -> str:
    if value is None:
        return "-"
    return compact(value)
