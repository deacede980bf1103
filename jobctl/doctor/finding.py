"""What a look at the host comes to: plain values, the same for whatever was looked at."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How it is. A problem breaks a promise of jobctl's; a warning is a risk that one may take."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Answer:
    """What one look came to: what was seen, and what to do about it if there is something."""

    verdict: Verdict
    seen: str
    fix: str | None = None


@dataclass(frozen=True)
class Finding:
    """An answer, and to which question: ``name`` is for programs, ``what`` for people."""

    name: str
    what: str
    verdict: Verdict
    seen: str
    fix: str | None


class NotSeen(Exception):
    """A look could not be taken, for want of what it needs; the message says of what."""


def ok(seen: str) -> Answer:
    """Return that all is well."""
    return Answer(Verdict.OK, seen)


def warning(seen: str, fix: str) -> Answer:
    """Return a risk."""
    return Answer(Verdict.WARNING, seen, fix)


def problem(seen: str, fix: str | None = None) -> Answer:
    """Return what has to be mended; without ``fix``, what was seen says how."""
    return Answer(Verdict.PROBLEM, seen, fix)


def unknown(seen: str) -> Answer:
    """Return that it can't be told, and why."""
    return Answer(Verdict.UNKNOWN, seen)
