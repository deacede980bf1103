"""What ``jobctl doctor --fix`` does: what is safe, and the caller's own to do.

Each repair is one that jobctl makes in its ordinary course, or loses nothing if it is not wanted.
What is another user's or root's, and what can't be had back, is left to people.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from jobctl.doctor import files, images, network, records
from jobctl.doctor.finding import Finding, NotSeen, in_words
from jobctl.doctor.subject import Subject
from jobctl.errors import JobctlError

MENDERS: Mapping[str, Callable[[Subject], list[str]]] = {
    "network": network.make_anew,
    "images": images.build,
    "directory": files.close_directory,
    "files": files.close,
    "authority": files.renew_authority,
    "records": records.reconcile,
}
"""What mends the finding of each name, and says in words what it did."""


@dataclass(frozen=True)
class Repair:
    """What was done about a finding: of which name, what in words, and why no more than that."""

    name: str
    what: str
    done: list[str]
    failed: str | None = None


def mend(subject: Subject, findings: Iterable[Finding]) -> list[Repair]:
    """Mend what is ``fixable``, one finding after the other; one that fails stops no other."""
    return [_mended(subject, one) for one in findings if one.fixable]


def _mended(subject: Subject, finding: Finding) -> Repair:
    try:
        return Repair(finding.name, finding.what, MENDERS[finding.name](subject))
    except (NotSeen, JobctlError) as error:
        return Repair(finding.name, finding.what, [], str(error))
    except OSError as error:
        return Repair(finding.name, finding.what, [], in_words(error))
