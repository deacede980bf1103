"""Asking the jobctl of another host about a job, over ssh."""

from __future__ import annotations

import ipaddress
import shlex
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from jobctl import ssh
from jobctl.errors import JobctlError
from jobctl.job import Job, Status, from_dict, job_id_of

_NOT_FOUND, _NOT_EXECUTABLE = 127, 126  # of a shell (POSIX, 2.8.2)


@dataclass(frozen=True, kw_only=True)
class Wish:
    """Which job is wanted here: ``ref`` is its id or port there.

    ``command`` is what runs jobctl there, for the login shell; ``local_port`` has to be had.
    ``told_here`` returns it where that host has an engine only, and its jobs are on record here.
    """

    destination: ssh.Destination
    ref: str
    command: str = "jobctl"
    local_port: int | None = None
    told_here: Callable[[], Job] | None = None

    @property
    def job_id(self) -> str:
        return job_id_of(self.ref)

    def line(self, *words: str) -> str:
        """Return the line that runs a command of jobctl there, for a person to type."""
        if self.told_here:
            return f"{self.command} {shlex.join(words)}"
        return f"ssh {self.destination.line} {shlex.quote(' '.join([self.command, *words]))}"


class Untold(JobctlError):
    """The host was asked, and could not tell about the job."""


class Ended(JobctlError):
    """The job does not run any more."""


def ask(connection: ssh.Connection, wish: Wish) -> Job:
    """Return the wanted job as its host has it on record, if it runs.

    Raises:
        ssh.Disconnected: the connection ended.
        Ended: it does not run.
        Untold: the host could not tell; it may, a moment later.
        JobctlError: there is no jobctl there, or what it says makes no sense.
    """
    if wish.told_here:
        return _running(wish.told_here(), wish)
    host = wish.destination.host
    said = connection.run(f"{wish.command} inspect {wish.job_id} --json")
    if said.code == ssh.FAILED or not connection.alive:
        raise ssh.Disconnected(f"the connection to {host} ended; try again")
    if said.code in (_NOT_FOUND, _NOT_EXECUTABLE):
        raise JobctlError(
            f'{host} has no "{wish.command}" for a session without a login shell; name where it '
            "is with --remote-command, as in --remote-command '~/.local/bin/jobctl'; it says: "
            f"{said.errors.strip() or 'nothing'}"
        )
    if said.code != 0:
        reason = said.errors.strip() or f"{wish.command} ended with {said.code}"
        raise Untold(f"{host}: {reason.removeprefix('jobctl: ')}")
    return _running(_read(said.output, wish), wish)


def _running(job: Job, wish: Wish) -> Job:
    if job.ended or job.status == Status.REGISTERED:
        start = wish.line("start", job.job_id)
        raise Ended(
            f"{job.job_id} on {wish.destination.host} is {job.status}; start it there: {start}"
        )
    return job


def _read(output: str, wish: Wish) -> Job:
    """Return the job in what ``inspect`` printed; a login shell may have said more before it."""
    host = wish.destination.host
    start = output.find("{\n")
    try:
        job = from_dict(msgspec.json.decode(output[max(start, 0) :]))
        ipaddress.ip_address(job.bind_address)
        for text in (job.owner, job.ready_path, job.login_path or ""):
            if not (text.isascii() and text.isprintable()):
                raise ValueError(f"{text!a} has control characters in it, or is not ASCII")
    except (ValueError, AttributeError, RecursionError, JobctlError) as error:
        raise JobctlError(
            f"what {host} says about {wish.job_id} makes no sense: {error}; see whether "
            f'"{wish.command}" is jobctl there'
        ) from None
    if job.job_id != wish.job_id or job.protocol != "https" or not job.tls_fingerprint:
        raise JobctlError(
            f"{host} was asked for {wish.job_id} and tells of {job.job_id}, {job.protocol}, with "
            f'the certificate "{job.tls_fingerprint}"; see: jobctl ps there'
        )
    return job
