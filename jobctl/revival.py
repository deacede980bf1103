"""Bringing back what a job that is to start has lost: containers, files, a valid certificate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from jobctl import certs
from jobctl.engines.base import FILES_LABEL, Container
from jobctl.job import Job
from jobctl.ledger import Ledger
from jobctl.observation import in_order
from jobctl.preparation import Preparation
from jobctl.progress import Report, Step

RENEW_DAYS = 30
"""How long before its end a certificate is renewed; a leaf lives for 90 days."""


def revive(
    ledger: Ledger,
    job: Job,
    preparation: Callable[[], Preparation],
    report: Report,
) -> Job:
    """Return a job that does not run with all that it needs to start.

    ``preparation`` is asked for only if something has to be made anew: a job that is whole starts
    whatever became of its app's section. The caller holds the job's lock.

    Raises:
        JobctlError: something can't be made anew.
        ClaimLost: somebody else has taken the place of a removed container.
    """
    found = in_order(ledger.containers(job.job_id)[job.job_id])
    if len(found) >= max(1, len(job.container_ids)) and not _files_missing(ledger, found):
        job = job.with_(container_ids=[container.id for container in found])
        left = days_left(ledger, job)
        if left is not None and left > RENEW_DAYS:
            # The record may be that of a start that was killed just after a renewal.
            certificate = ledger.directory / f"{job.job_id}.crt"
            job = job.with_(tls_fingerprint=certs.fingerprint(certificate.read_bytes()))
        else:
            report(Step("renewing the certificate", depth=1))
            job = preparation().renew_certificate(job)
        for container in found:
            if FILES_LABEL in container.labels:
                ledger.engine.refresh(container.id)
        return job
    report(Step(f"making anew what {job.job_id} has lost", depth=1))
    anew = preparation()
    for container in reversed(found):
        ledger.engine.remove(container.id)
    job = anew.write_files(job)
    return anew.create_containers(job)


def days_left(ledger: Ledger, job: Job) -> float | None:
    """Return for how many days a job's certificate is still valid; ``None``: there is none."""
    try:
        return certs.days_left((ledger.directory / f"{job.job_id}.crt").read_bytes())
    except (OSError, ValueError):
        return None


def _files_missing(ledger: Ledger, found: Sequence[Container]) -> bool:
    """Tell whether a file that one of the containers is to be shown is not there any more."""
    sources = [
        Path(bind.source)
        for container in found
        if (details := ledger.engine.details(container.id))
        for bind in details.binds
    ]
    return any(path.parent == ledger.directory and not path.exists() for path in sources)
