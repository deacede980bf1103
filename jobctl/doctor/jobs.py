"""The caller's jobs: where they are less protected than others, and what can be seen of them."""

from __future__ import annotations

from pathlib import Path

from jobctl.doctor.finding import Answer, ok, warning
from jobctl.doctor.subject import Subject

_MOUNTS = Path("/proc/self/mounts")


def relaxed(subject: Subject) -> Answer:
    """Look for jobs that ask to be less locked down than the engine can keep them."""
    found = [job for job in subject.live_jobs if job.relaxed]
    of_all = {*subject.ledger.relaxed} if found else set()
    words = [
        f"{job.job_id} of {job.app}: {', '.join(own)}"
        for job in found
        if (own := [one for one in job.relaxed if one not in of_all])
    ]
    if not words:
        return ok("none")
    return warning("; ".join(words), "see whether these apps need that: jobctl config show APP")


def digest(subject: Subject) -> Answer:
    """Name the jobs whose password file is as good as the password."""
    found = [job.job_id for job in subject.live_jobs if job.hash_algorithm == "apache_md5_digest"]
    if not found:
        return ok("none")
    return ok(
        f"{', '.join(found)}: whoever reads their {found[0]}_htpasswd or connections.txt needs "
        "no password; hash_algorithm: bcrypt keeps it from that"
    )


def command_lines(_subject: Subject) -> Answer:
    """Look whether other users of this host see the command lines of jobs."""
    if hides_processes(_MOUNTS.read_text()):
        return ok("not seen by other users (hidepid)")
    return ok("seen by other users, as is usual; jobctl puts no secret in them")


def hides_processes(mounts: str) -> bool:
    """Tell from ``/proc/self/mounts`` whether /proc shows users their own processes only.

    ``hidepid`` has numbers, and since Linux 5.8 names: proc(5).
    """
    rows = [line.split() for line in mounts.splitlines()]
    options = [row[3].split(",") for row in rows if len(row) > 3 and row[1] == "/proc"]
    hiding = {
        f"hidepid={value}" for value in ("1", "2", "4", "noaccess", "invisible", "ptraceable")
    }
    return bool(options) and bool(hiding.intersection(options[-1]))
