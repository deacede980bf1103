"""Starting a job's containers in order, and verifying the job before it counts as running."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from jobctl import gateway, passwords, probe
from jobctl.errors import JobctlError
from jobctl.job import Job, Status
from jobctl.ledger import Ledger, main_pid

LOG_LINES = 10


def start(
    ledger: Ledger,
    job: Job,
    secret: probe.Secret,
    *,
    timeout: float,
    report: Callable[[str], None],
) -> Job:
    """Start a job's containers in order, verify the job, return it as launched.

    It has ``timeout`` seconds to become ready. The caller holds the job's lock, and records what
    is returned.

    Raises:
        ClaimLost: the port is bound by somebody else.
        JobctlError: the job did not become ready, or is not protected.
    """
    job = job.with_(status=Status.LAUNCHING)
    ledger.registry.put(job, durable=False)
    restarts = {one: _restarts(ledger, one) for one in job.container_ids}
    report("starting")
    for container in job.container_ids:
        ledger.engine.start(container)
    report("verifying")
    try:
        check = partial(_check_running, ledger, job, restarts)
        probe.wait(target(ledger, job), secret, timeout=timeout, check=check)
    except JobctlError as error:
        raise type(error)(f"{error}{last_lines(ledger, job)}") from error
    condition = ledger.engine.condition(job.container_ids[-1])
    if condition is None:
        raise JobctlError(f"{job.job_id} was removed while it was being launched")
    return job.with_(
        status=Status.LAUNCHED,
        pid=main_pid(ledger.engine, condition),
        restarts=condition.restarts,
        exit_code=None,
    )


def target(ledger: Ledger, job: Job) -> probe.Target:
    """Return how a job is verified."""
    trusted = [ledger.directory / "ca.crt", ledger.directory / f"{job.job_id}.crt"]
    return probe.Target(
        address=probe.connect_address(job.bind_address),
        port=int(job.port),
        trusted="".join(path.read_text() for path in trusted if path.exists()),
        fingerprint=job.tls_fingerprint or "",
        auth=auth_of(job),
        user=passwords.user_of(job.password_hash or "") or "",
        path=job.ready_path,
        login_path=job.login_path,
    )


def _restarts(ledger: Ledger, container: str) -> int:
    condition = ledger.engine.condition(container)
    return condition.restarts if condition else 0


def _check_running(ledger: Ledger, job: Job, restarts: Mapping[str, int]) -> None:
    """Raise if one of a job's containers has ended, be it that the engine restarted it since."""
    for container, before in restarts.items():
        now = ledger.engine.condition(container)
        if now is None:
            raise JobctlError(f"{job.job_id}: its container was removed")
        if now.state != "running" or now.restarts > before:
            memory = ", out of memory" if now.out_of_memory else ""
            raise JobctlError(f"{job.app} exited ({now.exit_code}{memory}) while starting")


def last_lines(ledger: Ledger, job: Job) -> str:
    """Return the end of the log of a job's app, as the end of an error message."""
    try:
        log = b"".join(ledger.engine.logs(job.container_ids[-1], tail=LOG_LINES))
    except JobctlError:
        return ""
    text = log.decode(errors="replace").strip()
    return f"\nthe last lines of its log:\n{text}" if text else "\nits log is empty"


def auth_of(job: Job) -> gateway.Auth | None:
    """Return the HTTP authentication scheme that goes with a job's password file, if any does."""
    schemes: dict[str | None, gateway.Auth] = {"apache_md5_digest": "digest", "bcrypt": "basic"}
    return schemes.get(job.hash_algorithm) if job.password_hash else None
