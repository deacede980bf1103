"""What a look at the host comes to: plain values, the same for whatever was looked at."""

from __future__ import annotations

from collections.abc import Sequence
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
    """What one look came to: what was seen, and what to do about it if there is something.

    ``fixable``: ``jobctl.doctor.mending`` does that, or a part of it.
    """

    verdict: Verdict
    seen: str
    fix: str | None = None
    fixable: bool = False


@dataclass(frozen=True)
class Finding:
    """An answer, and to which question: ``name`` is for programs, ``what`` for people."""

    name: str
    what: str
    verdict: Verdict
    seen: str
    fix: str | None
    fixable: bool


class NotSeen(Exception):
    """A look could not be taken, for want of what it needs; the message says of what."""


def ok(seen: str) -> Answer:
    """Return that all is well."""
    return Answer(Verdict.OK, seen)


def warning(seen: str, fix: str, *, fixable: bool = False) -> Answer:
    """Return a risk."""
    return Answer(Verdict.WARNING, seen, fix, fixable)


def problem(seen: str, fix: str | None = None, *, fixable: bool = False) -> Answer:
    """Return what has to be mended; without ``fix``, what was seen says how."""
    return Answer(Verdict.PROBLEM, seen, fix, fixable)


def unknown(seen: str) -> Answer:
    """Return that it can't be told, and why."""
    return Answer(Verdict.UNKNOWN, seen)


def worst(answers: Sequence[Answer]) -> Answer:
    """Return what looks at several things come to: the worst of them, and the others like it."""
    order = [Verdict.PROBLEM, Verdict.WARNING, Verdict.UNKNOWN, Verdict.OK]
    verdict = min((one.verdict for one in answers), key=order.index)
    like = [one for one in answers if one.verdict == verdict]
    fixes = dict.fromkeys(one.fix for one in like if one.fix)
    return Answer(
        verdict,
        "; ".join(one.seen for one in like),
        "; ".join(fixes) or None,
        any(one.fixable for one in like),
    )


def in_words(error: OSError) -> str:
    """Return what the system refused, and of which file if it was one."""
    return f"{error.filename}: {error.strerror}" if error.filename else str(error)
