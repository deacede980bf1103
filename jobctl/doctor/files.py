"""Files: those that decide what runs, which nobody else may write, and those that hold secrets."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import jobctl
from jobctl import apps, authority, certs, jobfiles, ownership
from jobctl.config import shipped
from jobctl.containers import account
from jobctl.doctor import people
from jobctl.doctor.finding import Answer, ok, problem, unknown, warning
from jobctl.doctor.subject import Subject
from jobctl.errors import JobctlError

_SHOWN = 5


def code(_subject: Subject) -> Answer:
    """Look for others who could change what comes with jobctl, itself included."""
    package = Path(jobctl.__file__).parent
    brought = [shipped() / name for name in ("config.yaml", "app_modules", "images")]
    for place in (package, *brought):
        try:
            ownership.real_path(place)
        except JobctlError as error:
            return problem(str(error))
        for path in (place, *place.rglob("*")):
            if _foreign(path.lstat()):
                return problem(
                    f"{path} ({people.describe(path)}): others could run programs as you by it",
                    f"install jobctl anew, as root or yourself; chmod -R go-w {place}",
                )
    return ok(f"{package}: written by nobody but root and you")


def configuration(subject: Subject) -> Answer:
    """Look whether the configuration can be used, which it can't where others may write it."""
    try:
        config = subject.load()
    except JobctlError as error:
        return problem(str(error))
    others = {origin.path for origin in config.origins.values()} - {config.path}
    included = f", with {', '.join(sorted(map(str, others)))}" if others else ""
    return ok(f"{config.path}{included}: written by nobody but root and you")


def modules(subject: Subject) -> Answer:
    """Look at the Python files that apps run, without running them."""
    catalogue = subject.catalogue
    wrong, count = [], 0
    for app, section in catalogue.apps.items():
        path = apps.module_of(app, section, catalogue.origins[app])
        if path is None:
            continue
        count += 1
        try:
            apps.source(path, catalogue.origins[app])
        except JobctlError as error:
            wrong.append(f"apps.{app}: {error}")
    if wrong:
        return problem("\n".join(wrong))
    return ok(f"{count}: written by nobody but root and you")


def directory(subject: Subject) -> Answer:
    """Look at the caller's directory, and at those above it."""
    path = subject.broker.directory
    try:
        found = path.lstat()
    except FileNotFoundError:
        return ok(f"{path} is made when it is needed")
    except OSError as error:
        return problem(f"{path}: {error.strerror}", "set general.user_dir_base to another place")
    described = f"{path} ({people.describe(path)})" if path.exists() else str(path)
    try:
        found = ownership.real_path(path).lstat()
    except JobctlError as error:
        return problem(str(error))
    if found.st_uid != os.getuid():
        return problem(f"{described} is not yours", "set general.user_dir_base to another place")
    if not stat.S_ISDIR(found.st_mode):
        return problem(f"{described} is no directory", "move it away")
    if found.st_mode & 0o077:
        return problem(
            f"{described} is open to others",
            f"chmod 700 {path}, or use jobctl, which does that too",
            fixable=True,
        )
    return ok(described)


def close_directory(subject: Subject) -> list[str]:
    """Close the caller's directory to others."""
    path = subject.broker.directory
    jobfiles.ensure_private_directory(path)
    return [f"{path} ({people.describe(path)})"]


def contents(subject: Subject) -> Answer:
    """Look for files there that others can read, or that belong to others."""
    path = subject.broker.directory
    if not path.is_dir():
        return ok("there are none")
    try:
        owners = _owners(path)
        wrong = sorted(_open_to_others(path, owners))
        count = sum(1 for _ in path.iterdir())
    except PermissionError as error:
        return unknown(f"{path}: {error.strerror}")
    if wrong:
        more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        names = ", ".join(f"{one.name} ({people.describe(one)})" for one in wrong[:_SHOWN])
        return problem(
            f"{names}{more}: can be read by others, or are another's",
            f"chmod -R go= {path}; change a password or key that others may have read",
            fixable=any(_close(one, owners(one), only_look=True) for one in wrong),
        )
    return ok(f"{count}, which nobody else can read")


def close(subject: Subject) -> list[str]:
    """Close the files to others that are the caller's, or those of the caller's jobs."""
    path = subject.broker.directory
    owners = _owners(path)
    return [
        f"{one.name} ({people.describe(one)}), which others may have read until now"
        for one in sorted(_open_to_others(path, owners))
        if _close(one, owners(one))
    ]


def authority_files(subject: Subject) -> Answer:
    """Look whether the caller's authority can sign, and for how long."""
    path = subject.broker.directory
    certificate, key = path / "ca.crt", path / "ca.key"
    if not (certificate.exists() or key.exists()):
        return ok("made with the first job")
    anew = "jobctl ca path makes it anew, with the same key; give it to your clients"
    if not certificate.exists():
        return warning(f"{certificate} is missing", anew, fixable=True)
    try:
        pair = certs.Pair(certificate.read_bytes(), key.read_bytes())
        certs.check(pair)
        names = certs.permitted(pair.certificate)
        days = certs.days_left(pair.certificate)
    except (OSError, ValueError) as error:
        return problem(
            f"{certificate} and {key.name}: {error}",
            "move both away; the next job starts a new one, which clients have to be given",
        )
    if days < 0:
        return warning(f"{certificate} has expired", anew, fixable=True)
    # Not by its addresses: they come and go with networks, and jobs on loopback need none.
    host = certs.Subjects(authority.host_subjects().names, frozenset())
    if not names.cover(host):
        return warning(
            f"{certificate} does not speak for {', '.join(sorted(host.names - names.names))}, as "
            "this host is called now",
            anew,
            fixable=True,
        )
    # Hosts of engines elsewhere, and the domain that a site has for jobs.
    further = [one for one in sorted(names.names) if not host.cover(certs.Subjects.of([one], []))]
    further += sorted(map(str, names.addresses - authority.host_subjects().addresses))
    words = ", ".join(["this host", *further])
    return ok(f"{certificate}: for {words} and nobody else, {days:.0f} days left")


def renew_authority(subject: Subject) -> list[str]:
    """Make the certificate of the caller's authority anew; what it signed stays valid."""
    path = subject.broker.authority()
    return [f"{path} is made anew, with the same key: give it to your clients"]


def _foreign(found: os.stat_result) -> bool:
    if stat.S_ISLNK(found.st_mode):  # its mode says nothing
        return found.st_uid not in (0, os.getuid())
    return found.st_uid not in (0, os.getuid()) or ownership.others_may_write(found)


def _owners(directory: Path) -> Callable[[Path], set[int]]:
    """Return what tells whose a file may be: those of a job are for whom its containers run as."""
    own = {os.getuid(), account(os.getuid(), os.getgid(), rootless=False).owner}
    ids = jobfiles.job_ids(directory)
    of_jobs = {path for job_id in ids for path in jobfiles.files_of(directory, job_id)}
    return lambda path: own if path in of_jobs else {os.getuid()}


def _open_to_others(directory: Path, owners: Callable[[Path], set[int]]) -> Iterator[Path]:
    for path in directory.iterdir():
        found = path.lstat()
        if stat.S_ISLNK(found.st_mode):
            continue
        if found.st_mode & 0o077 or found.st_uid not in owners(path):
            yield path


def _close(path: Path, owners: Collection[int], *, only_look: bool = False) -> bool:
    """Take the rights of others from a file, if it is one of the ``owners``'; return whether so.

    Not from one that has another name too: others may have linked here what is for everybody.
    """
    descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        is_file = stat.S_ISREG(found.st_mode) and found.st_nlink == 1
        if found.st_uid not in owners or not (is_file or stat.S_ISDIR(found.st_mode)):
            return False
        if not only_look:
            # By way of /proc: a descriptor that opens nothing (O_PATH) can't be changed itself.
            Path(f"/proc/self/fd/{descriptor}").chmod(stat.S_IMODE(found.st_mode) & ~0o077)
        return True
    finally:
        os.close(descriptor)
