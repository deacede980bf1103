"""What app modules import: a default for each of the four functions, and means to write files.

``job`` is a dict with the keys of the job object, plus ``args`` (list of str), ``listen`` (str) and
``app_port`` (int: where the app has to listen), ``nodes`` (lists of a name and an address: the
hosts of a cluster), ``directory`` (str: where the user is), ``command`` (list of str: the
section's, filled in, or ``None``) and ``options`` (the further keys of the app's section).
"""

from __future__ import annotations

import ipaddress
import shlex
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jobctl import authority, certs, hosts, jobfiles
from jobctl.errors import JobctlError
from jobctl.locks import Locks

asking: ContextVar[Callable[[], str]] = ContextVar("asking")
"""Asks the user for a password, hidden and twice, and hashes it as the app's section says."""


def get_password() -> str | None:
    """Ask the user for a password and return the hash of it.

    Raises:
        JobctlError: no job is being launched, so that there is nobody to ask.
    """
    try:
        ask = asking.get()
    except LookupError:
        raise JobctlError(
            "get_password works only while jobctl launches a job; call it in that of a module"
        ) from None
    return ask()


def gen_cert(job: Mapping[str, Any], password_hash: str | None) -> None:
    """Write the job's key and certificate, signed by the user's own authority.

    The files are ``{job_id}.key``, ``.crt`` and ``.pem`` (leaf, authority and key). The password
    plays no part in them.
    """
    del password_hash
    directory = Path(job["job_root"])
    subjects = leaf_subjects(job)
    with Locks(directory).held(authority.AUTHORITY_LOCK):
        signer = authority.ensure_authority(directory, job["owner"], _signed_for(job, subjects))
    leaf = certs.issue_leaf(signer, subjects, common_name=f"{job['job_id']} on {job['host']}")
    write_file(job, ".key", leaf.key)
    write_file(job, ".crt", leaf.certificate)
    write_file(job, ".pem", leaf.certificate + signer.certificate + leaf.key)


def gen_config(job: Mapping[str, Any]) -> str | None:
    """Write nothing: the app needs no configuration file."""
    del job
    return None


def get_launch_cmd(job: Mapping[str, Any]) -> str | None:
    """Return the section's ``command``, or ``server_path`` and what the user gave after ``--``.

    ``None``, if the section has neither, leaves it to the image what runs.
    """
    if job["command"]:
        return shlex.join(job["command"])
    return shlex.join([job["app_path"], *job["args"]]) if job["app_path"] else None


def write_file(job: Mapping[str, Any], suffix: str, data: str | bytes) -> str:
    """Write ``{job_root}{job_id}{suffix}``, readable by nobody else, and return its path.

    Raises:
        JobctlError: ``suffix`` does not start with a dot or an underscore, or has a slash in it.
    """
    if suffix[:1] not in (".", "_") or "/" in suffix:
        raise JobctlError(f'suffix "{suffix}": expected one such as "_config.txt"')
    path = Path(job["job_root"], job["job_id"] + suffix)
    jobfiles.write_private(path, data.encode() if isinstance(data, str) else data)
    return str(path)


def leaf_subjects(job: Mapping[str, Any]) -> certs.Subjects:
    """Return the names and addresses at which a job's clients may look for it."""
    bound = ipaddress.ip_address(job["bind_address"])
    if elsewhere := job.get("reached_at"):
        known = [] if bound.is_unspecified else [bound]
        return certs.Subjects.of(
            [*elsewhere["names"], "localhost", f"job-{job['port']}.localhost"],
            ["127.0.0.1", "::1", *elsewhere["addresses"], *known],
        )
    own = certs.Subjects.of(
        [*hosts.names(), "localhost", f"job-{job['port']}.localhost", *_site_name(job)],
        ["127.0.0.1", "::1", *(hosts.addresses() if bound.is_unspecified else [bound])],
    )
    nodes = job.get("nodes") or []
    return own | certs.Subjects.of([name for name, _ in nodes], [at for _, at in nodes if at])


def _site_name(job: Mapping[str, Any]) -> list[str]:
    """Return the name that an exposed job has of its own, where the site has a domain for those."""
    name = urlsplit(job.get("open_url", "")).hostname or ""
    return [name] if name.startswith(f"job-{job['port']}.") else []


def _signed_for(job: Mapping[str, Any], leaf: certs.Subjects) -> certs.Subjects:
    """Return whom the authority has to speak for: the site's domain, so that it need not change."""
    domains = [name.partition(".")[2] for name in _site_name(job)]
    return leaf | certs.Subjects.of(domains, [])
