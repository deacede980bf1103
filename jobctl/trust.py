"""Having a user's browsers, or the whole host, trust an authority; and undoing it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from jobctl import certs, nss, systemstore
from jobctl.authority import host_subjects
from jobctl.candidate import Candidate, read
from jobctl.errors import JobctlError

BY_HAND = """\
Chromium: Settings, Privacy and security, Security, Manage certificates, import under Authorities
Firefox:  Settings, Privacy & Security, View Certificates, import under Authorities"""


@dataclass(frozen=True)
class Outcome:
    """What became of one store: whether it was changed, and in words; or why it could not be."""

    where: str
    what: str
    changed: bool = False
    failed: bool = False


def own(directory: Path, owner: str) -> Candidate:
    """Return the authority of the user whose files are in ``directory``, or what it would be."""
    path = directory / "ca.crt"
    try:
        return read(path.read_bytes(), str(path))
    except FileNotFoundError:
        return read(certs.issue_authority(owner, host_subjects()).certificate, "a new authority")
    except OSError as error:
        raise JobctlError(f"can't read {path}: {error.strerror}; name another file") from None


def check(candidate: Candidate, source: str) -> None:
    """Make sure that an authority can't pose as just anybody.

    Raises:
        JobctlError: it can, or its time is over.
    """
    if certs.days_left(candidate.certificate) < 0:
        raise JobctlError(
            f"{source} has expired; have a new one made on its host: jobctl ca export"
        )
    if candidate.subjects is None:
        raise JobctlError(
            f"{source}: {candidate.name} is not constrained to the names of a host; who has its "
            "key could pose as any site in the world to those who trust it; use an authority of "
            "jobctl, or --unconstrained to trust this one all the same"
        )


def trust_in_browsers(candidate: Candidate, home: Path) -> list[Outcome]:
    """Have the browsers of a home directory trust an authority instead of its earlier editions."""
    if not nss.available():
        raise JobctlError(
            "browsers keep whom they trust in databases that certutil changes, which is missing; "
            "install libnss3-tools (Debian, Ubuntu) or nss-tools (Fedora, RHEL), or import the "
            f"file by hand\n{BY_HAND}"
        )
    found = nss.databases(home)
    # Root has no browser. Chromium takes the database that is there when it first looks.
    if os.geteuid() != 0 and not any(one.directory.name == "nssdb" for one in found):
        found.insert(0, nss.default(home))
    return [_attempt(_trust, one, candidate) for one in found]


def untrust_in_browsers(candidate: Candidate, home: Path) -> list[Outcome]:
    """Have the browsers of a home directory trust neither an authority nor its other editions."""
    if not nss.available():
        raise JobctlError(f"certutil is missing; remove {candidate.name} by hand\n{BY_HAND}")
    return [_attempt(_untrust, one, candidate) for one in nss.databases(home)]


def trust_in_system(candidate: Candidate) -> Outcome:
    """As root, have this host's programs trust an authority instead of its earlier editions."""
    store = _store()
    held = _files(store, candidate)
    if [one.fingerprint for one in held.values()] == [candidate.fingerprint]:
        return Outcome(str(store.directory), "trusts it already")
    store.change(add=(candidate.file_name, candidate.certificate), remove=held)
    return Outcome(str(store.directory), "trusts it now", changed=True)


def untrust_in_system(candidate: Candidate) -> Outcome | None:
    """As root, undo that; ``None`` if there is nothing to undo."""
    store = systemstore.find()
    if store is None or not (held := _files(store, candidate)):
        return None
    store.change(add=None, remove=held)
    return Outcome(str(store.directory), "does not trust it any more", changed=True)


def commands_to_trust(candidate: Candidate, file: Path) -> list[str]:
    """Return what a user who may be root types to do as ``trust_in_system`` does."""
    store = _store()
    held = _files(store, candidate)
    if [one.fingerprint for one in held.values()] == [candidate.fingerprint]:
        return []
    return store.commands(add=(candidate.file_name, file), remove=held)


def commands_to_untrust(candidate: Candidate) -> list[str]:
    """Return what a user who may be root types to do as ``untrust_in_system`` does."""
    store = systemstore.find()
    held = _files(store, candidate) if store else {}
    return store.commands(add=None, remove=held) if store and held else []


def _store() -> systemstore.Store:
    store = systemstore.find()
    if store is None:
        raise JobctlError(
            "this host has neither update-ca-certificates nor update-ca-trust; see how its "
            "distribution adds an authority, or name the file to each program: curl --cacert, "
            "SSL_CERT_FILE, REQUESTS_CA_BUNDLE"
        )
    return store


def _files(store: systemstore.Store, candidate: Candidate) -> dict[Path, Candidate]:
    """Return the editions of an authority that are in the host's store."""
    found = {}
    for path in store.files():
        try:
            held = read(path.read_bytes(), str(path))
        except (OSError, JobctlError):
            continue  # not ours, whatever its name
        if candidate.succeeds(held):
            found[path] = held
    return found


def _attempt(
    act: Callable[[nss.Database, Candidate], Outcome], database: nss.Database, candidate: Candidate
) -> Outcome:
    try:
        return act(database, candidate)
    except (OSError, JobctlError) as error:
        reason = " ".join(str(error).split())
        if "SEC_ERROR_BAD_PASSWORD" in reason:
            reason = "a primary password protects it; import the file there by hand"
        return Outcome(str(database.directory), f"can't be changed: {reason}", failed=True)


def _trust(database: nss.Database, candidate: Candidate) -> Outcome:
    if not database.directory.exists():
        database.create()
    held = set(_editions(database, candidate))
    known = candidate.label in held
    if not known:
        database.add(candidate.label, candidate.certificate)
    earlier = held - {candidate.label}
    for nickname in earlier:
        database.remove(nickname)
    what = "trusts it already" if known else "trusts it now"
    what += ", and no earlier one any more" if earlier else ""
    return Outcome(str(database.directory), what, changed=bool(earlier) or not known)


def _untrust(database: nss.Database, candidate: Candidate) -> Outcome:
    held = set(_editions(database, candidate))
    for nickname in held:
        database.remove(nickname)
    what = "does not trust it any more" if held else "did not trust it"
    return Outcome(str(database.directory), what, changed=bool(held))


def _editions(database: nss.Database, candidate: Candidate) -> Iterator[str]:
    """Yield what the editions of an authority that are in a database are called there."""
    for nickname in database.nicknames():
        if re.search(r" [0-9a-f]{16}$", nickname) is None:
            continue
        for certificate in database.certificates(nickname):
            held = read(certificate, nickname)
            if held.label == nickname and candidate.succeeds(held):
                yield nickname
