"""What a person or a script gets to see: tables, records, JSON. Returns text, prints nothing."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jobctl import hosts, lifetimes
from jobctl.job import Job, to_dict

if TYPE_CHECKING:
    from jobctl.images import ListedImage

MOST_CELL = 300
"""How wide a column of a table gets, in characters; the URL of the longest host name fits."""

_AGES = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def clean(text: str) -> str:
    """Return text without control characters: a log line must not drive the user's terminal."""
    return "".join(
        c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def one_line(text: str) -> str:
    """Return text that can forge neither a line nor a column, as ``clean`` does otherwise."""
    return clean(text).replace("\n", "\N{REPLACEMENT CHARACTER}").replace("\t", " ")


def as_json(value: Any) -> str:
    """Return indented JSON, in which whatever does not print stands as an escape."""
    return _json(value, indent=2)


def _json(value: Any, *, indent: int | None = None) -> str:
    text = json.dumps(_sayable(value), indent=indent, ensure_ascii=False)
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)


def _sayable(value: Any) -> Any:
    """Return a value as JSON has it: YAML has dates, sets, infinity and keys of any kind."""
    if isinstance(value, Mapping):
        return {str(key): _sayable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_sayable(inner) for inner in value]
    if value is None or isinstance(value, str | int):
        return value
    return value if isinstance(value, float) and math.isfinite(value) else str(value)


def jobs_json(jobs: Iterable[Job], *, reveal: bool = False) -> str:
    """Return a JSON array of job objects."""
    return as_json([to_dict(job, reveal=reveal) for job in jobs])


def job_json(job: Job, *, reveal: bool = False, more: Mapping[str, Any] | None = None) -> str:
    """Return one job object as JSON, with ``more`` keys at its end."""
    return as_json({**to_dict(job, reveal=reveal), **(more or {})})


def jobs_table(jobs: Iterable[Job], *, owners: bool = False) -> str:
    """Return the table of ``jobctl ps``."""
    head = ["JOB", *(["OWNER"] if owners else []), "APP", "STATUS", "AGE", "URL"]
    rows = [
        [
            job.job_id,
            *([job.owner] if owners else []),
            job.app,
            status(job),
            age(job),
            job.open_url or job.url,
        ]
        for job in jobs
    ]
    return table(head, rows)


def record(job: Job, *, reveal: bool = False, more: Mapping[str, Any] | None = None) -> str:
    """Return one job, a key a line, with ``more`` keys at its end."""
    values = {**to_dict(job, reveal=reveal), **dict(_flat(more or {}))}
    width = min(max(map(len, values)), MOST_CELL)
    return "\n".join(
        f"{one_line(key):<{width}}  {one_line(_plain(value))}" for key, value in values.items()
    )


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


def finding(word: str, what: str, seen: str, *, fix: str | None = None) -> str:
    """Return the line of a check: how it went, of what, what was seen, and below it what to do."""
    # What was seen can have lines of its own, as the end of a log has.
    margin = " " * (len(word) + 2)
    below = f"\n{margin}mend it: {clean(fix)}" if fix else ""
    text = f"{word}  {what}: {seen}" if seen else f"{word}  {what}"
    return clean(text).replace("\n", f"\n{margin}") + below


def status(job: Job) -> str:
    """Return a job's status with what explains it."""
    if job.intent is not None and job.intent != "run":
        return f"{job.status} ({job.intent} under way)"
    if job.host != hosts.name():
        return f"{job.status} (on {job.host})"
    code = None if job.exit_code is None else str(job.exit_code)
    # A job that was stopped for that has it as its reason.
    why = ", ".join(
        dict.fromkeys(filter(None, [code, job.reason, lifetimes.remark(job, time.time())]))
    )
    return f"{job.status} ({why})" if why else job.status


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
    lines = [head, *([_cell(text) for text in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _cell(text: str) -> str:
    text = one_line(text)
    return text if len(text) <= MOST_CELL else text[: MOST_CELL - 1] + "…"


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
    return value if isinstance(value, str) else _json(value)


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield what is in objects in objects, under keys with dots."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _plain(value: Any) -> str:
    if value is None:
        return "-"
    return compact(value)
