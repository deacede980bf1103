"""What a person or a script gets to see: records, JSON, and values in words. Prints nothing."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from jobctl import hosts, lifetimes
from jobctl.cli.tables import MOST_CELL, table
from jobctl.cli.words import clean, one_line, size
from jobctl.job import Job, to_dict

__all__ = ["MOST_CELL", "age", "as_json", "clean", "compact", "finding", "job_json", "jobs_json"]
__all__ += ["one_line", "record", "size", "status", "table"]

_AGES = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


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


def record(job: Job, *, reveal: bool = False, more: Mapping[str, Any] | None = None) -> str:
    """Return one job, a key a line, with ``more`` keys at its end."""
    values = {**to_dict(job, reveal=reveal), **dict(_flat(more or {}))}
    width = min(max(map(len, values)), MOST_CELL)
    return "\n".join(
        f"{one_line(key):<{width}}  {one_line(_plain(value))}" for key, value in values.items()
    )


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
