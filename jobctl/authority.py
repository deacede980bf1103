"""The user's certificate authority on disk: made at first use, widened when this host changes."""

from __future__ import annotations

from pathlib import Path

from jobctl import certs, hosts, jobfiles
from jobctl.errors import JobctlError

AUTHORITY_LOCK = 65536
"""The byte of the lock file that guards the authority: one past the last port."""
_RENEW_DAYS = 100  # a leaf that it signs lives for 90


def host_subjects() -> certs.Subjects:
    """Return whom a user's authority speaks for: this host and its loopback, nobody else."""
    return certs.Subjects.of(
        [*hosts.names(), "localhost"], [*hosts.addresses(), "127.0.0.1", "::1"]
    )


def ensure_authority(directory: Path, owner: str, wanted: certs.Subjects) -> certs.Pair:
    """Return the authority of the user whose files are in ``directory``; it can sign ``wanted``.

    When the host got new names or addresses, or the end is near, the certificate is made anew
    with the same key: what it signed before stays valid, clients have to be given the new one.

    Raises:
        JobctlError: the files can't be used; the message says how to start over.
    """
    certificate, key = directory / "ca.crt", directory / "ca.key"
    try:
        if not key.exists():
            if certificate.exists():
                raise _unusable(directory, "ca.key is missing")
            pair = certs.issue_authority(owner, host_subjects() | wanted)
            jobfiles.write_private(key, pair.key)
        elif not certificate.exists():  # a process was killed before it could write it
            pair = certs.issue_authority(owner, host_subjects() | wanted, key=key.read_bytes())
        else:
            pair = certs.Pair(certificate.read_bytes(), key.read_bytes())
            certs.check(pair)
            known = certs.permitted(pair.certificate)
            if known.cover(wanted) and certs.days_left(pair.certificate) > _RENEW_DAYS:
                return pair
            pair = certs.issue_authority(owner, known | host_subjects() | wanted, key=pair.key)
    except (OSError, ValueError) as error:
        raise _unusable(directory, str(error)) from None
    jobfiles.write_private(certificate, pair.certificate)
    return pair


def _unusable(directory: Path, reason: str) -> JobctlError:
    return JobctlError(
        f"the certificate authority in {directory} can't be used: {reason}; move ca.crt and "
        "ca.key away to start a new one (clients then need the new ca.crt)"
    )
