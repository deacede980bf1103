"""The certificates of jobs: what their clients look at first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from jobctl import certs, revival
from jobctl.doctor.finding import Answer, ok, problem, warning, worst
from jobctl.doctor.subject import Subject
from jobctl.job import Job, Status


def of_jobs(subject: Subject) -> Answer:
    """Look at the certificates of jobs that run; those of others are looked after by ``start``."""
    directory = subject.broker.directory
    running = (Status.LAUNCHED, Status.UNHEALTHY)
    found = [job for job in subject.jobs if job.status in running and job.intent is None]
    wrong = [answer for job in found for answer in _wrong(directory, job)]
    return worst(wrong) if wrong else ok(f"{len(found)}, of which none ends soon")


def _wrong(directory: Path, job: Job) -> Iterator[Answer]:
    again = f"jobctl stop {job.job_id} && jobctl start {job.job_id}"
    path = directory / f"{job.job_id}.crt"
    try:
        pair = certs.Pair(path.read_bytes(), path.with_suffix(".key").read_bytes())
        left = certs.days_left(pair.certificate)
        certs.check(pair)
    except FileNotFoundError as error:
        yield problem(f"{job.job_id}: there is no {error.filename}", again)
    except (OSError, ValueError) as error:
        yield problem(f"{job.job_id}: {path}: {error}", f"move it away, then: {again}")
    else:
        if certs.fingerprint(pair.certificate) != job.tls_fingerprint:
            yield problem(f"{job.job_id}: {path} is not the one on record", again)
        elif left < 0:
            yield problem(f"{job.job_id}: {path} has expired", again)
        elif left < revival.RENEW_DAYS:
            yield warning(f"{job.job_id}: {path} ends in {left:.0f} days", again)
