"""A look at the host: in which security case it is, and whether jobctl can keep its promises there.

Owns which looks there are and in which order they are taken. Looking changes nothing, and what
can't be seen leaves the other looks as they are. What each of them looks at is in the modules
beside this, and what can be mended without asking in ``mending``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jobctl.doctor import (
    certificates,
    clock,
    disk,
    engine,
    files,
    images,
    jobs,
    network,
    ports,
    records,
)
from jobctl.doctor.finding import Answer, Finding, NotSeen, Verdict, in_words, unknown
from jobctl.doctor.mending import Repair, mend
from jobctl.doctor.subject import Subject
from jobctl.errors import JobctlError

__all__ = ["LOOKS", "Finding", "Repair", "Subject", "Verdict", "examine", "mend"]


@dataclass(frozen=True)
class Look:
    """One thing to look at."""

    name: str
    what: str
    take: Callable[[Subject], Answer]


LOOKS = (
    Look("engine", "container engine", engine.answers),
    Look("transport", "way to the engine", engine.way),
    Look("isolation", "what access to the engine is worth", engine.isolation),
    Look("access", "who has that access", engine.access),
    Look("confinement", "what confines containers", engine.confinement),
    Look("limits", "limits that the engine keeps", engine.limits),
    Look("cgroups", "what it limits with (cgroups)", engine.cgroups),
    Look("complaints", "what the engine warns of", engine.complaints),
    Look("restart", "jobs when the engine is restarted", engine.restart),
    Look("differences", "what is otherwise than on Docker's", engine.differences),
    Look("network", "jobs apart from each other", network.apart),
    Look("addresses", "jobs at their containers' addresses", network.addresses),
    Look("images", "images of apps", images.current),
    Look("serving", "jobs that should run", records.serving),
    Look("exposed", "jobs reached from the network", network.exposed),
    Look("bind-address", "where jobs answer by default", network.default_bind),
    Look("ports", "ports for jobs", ports.holders),
    Look("kernel", "the same ports in the kernel", ports.kernel),
    Look("disk", "room on disks", disk.room),
    Look("clock", "clock", clock.plausible),
    Look("code", "jobctl itself", files.code),
    Look("config", "configuration", files.configuration),
    Look("modules", "modules of apps", files.modules),
    Look("directory", "your records and keys", files.directory),
    Look("files", "files among them", files.contents),
    Look("authority", "your certificate authority", files.authority_files),
    Look("certificates", "certificates of jobs", certificates.of_jobs),
    Look("records", "records and what there is", records.agree),
    Look("set-aside", "records that were damaged", records.set_aside),
    Look("relaxed", "jobs that are less locked down", jobs.relaxed),
    Look("digest", "jobs whose hash is as good as the password", jobs.digest),
    Look("command-lines", "command lines of jobs", jobs.command_lines),
)


def examine(subject: Subject) -> list[Finding]:
    """Take all looks at a host and return a finding for each, in their order."""
    return [_finding(look, subject) for look in LOOKS]


def _finding(look: Look, subject: Subject) -> Finding:
    try:
        answer = look.take(subject)
    except NotSeen as reason:
        answer = unknown(f"not seen: {reason}")
    except JobctlError as error:
        answer = unknown(str(error))
    except OSError as error:
        answer = unknown(in_words(error))
    return Finding(look.name, look.what, answer.verdict, answer.seen, answer.fix, answer.fixable)
