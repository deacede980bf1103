"""The records: whether they are whole, and agree with what there is. The next command mends them.

Looks at both as ``jobctl.ledger`` does, and leaves both as they are.
"""

from __future__ import annotations

from jobctl import jobfiles
from jobctl.doctor.finding import Answer, NotSeen, ok, problem, warning
from jobctl.doctor.subject import Subject
from jobctl.errors import JobctlError
from jobctl.job import Status, is_job_id, port_of
from jobctl.observation import observe
from jobctl.registry import Damage

_NEXT = "jobctl ps, or whatever command is the next, puts that right"


def agree(subject: Subject) -> Answer:
    """Look for damage, for what a killed command left half-done, and for jobs without a record."""
    jobs, damage = subject.registry.parse()
    busy = subject.registry.locks.busy
    wrong = [*_damage(damage)]
    wrong += [
        f"{job.job_id}: {job.intent} was begun and not finished"
        for job in jobs.values()
        if job.intent is not None and not busy(port_of(job.job_id))
    ]
    try:
        unrecorded = sorted(_there(subject) - set(jobs))
    except (NotSeen, JobctlError):
        if wrong:
            return warning("; ".join(wrong), f"{_NEXT}, once an engine answers")
        return ok(f"{len(jobs)} on record; whether they have their containers can't be seen")
    wrong += [
        f"{job_id}: not on record, and something of it is there"
        for job_id in unrecorded
        if not busy(port_of(job_id))
    ]
    if wrong:
        return warning("; ".join(wrong), _NEXT, fixable=True)
    return ok(f"{len(jobs)} on record, and nothing of any other")


def set_aside(subject: Subject) -> Answer:
    """Look for lines that were no records and were kept beside them."""
    path = subject.registry.path
    found = sorted(path.parent.glob(f"{path.name}.damaged-*"))
    if not found:
        return ok("none")
    return warning(
        f"{', '.join(one.name for one in found)} in {path.parent}: what stood in place of records",
        "see whether a job of yours is in there that jobctl ps --all does not show, then remove "
        f"it: rm {found[0]}",
    )


def serving(subject: Subject) -> Answer:
    """Look for jobs that are on record as running and are not well, or not there any more."""
    ledger = subject.ledger
    listed = ledger.containers()
    seen = [
        observe(subject.engine, job, listed.get(job.job_id, []))
        for job in subject.jobs
        if job.intent is None and (job.job_id in listed or not ledger.elsewhere(job))
    ]
    words = {
        status: ", ".join(
            job.job_id + (f" ({job.reason})" if job.reason else "")
            for job in seen
            if job.status == status
        )
        for status in (Status.UNHEALTHY, Status.LOST)
    }
    told = "; ".join(f"{status}: {ids}" for status, ids in words.items() if ids)
    if words[Status.UNHEALTHY]:
        return problem(told, "see why: jobctl logs JOB; then: jobctl start JOB")
    if told:
        return warning(told, "jobctl start JOB makes it anew, jobctl rm JOB forgets it")
    running = sum(job.status == Status.LAUNCHED for job in seen)
    return ok(f"{running} running, none of them unhealthy; none is lost")


def reconcile(subject: Subject) -> list[str]:
    """Put the records right as every command does, and say what there is now."""
    jobs = subject.broker.jobs()
    return [f"the records agree with what there is: {', '.join(j.job_id for j in jobs) or 'none'}"]


def _damage(damage: Damage) -> list[str]:
    if damage.whole:
        return ["connections.txt is no file of yours"]
    return [f"connections.txt has {len(damage.lines)} lines that are none"] if damage else []


def _there(subject: Subject) -> set[str]:
    """Return the jobs that there are files or containers of, but for those that only pretend."""
    directory, listed = subject.broker.directory, set(subject.ledger.containers())
    of_files = filter(is_job_id, jobfiles.job_ids(directory)) if directory.is_dir() else ()
    return (listed | set(of_files)) - {
        one for one in listed if not (directory / f"{one}.crt").exists()
    }
