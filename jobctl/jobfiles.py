"""Files on disk: private from birth, replaced atomically, and all of a job's found by its id."""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
from pathlib import Path

from jobctl import ownership
from jobctl.errors import JobctlError, Unwritable

_OF_A_JOB = re.compile(r"(job_[1-9][0-9]{0,4})[._]")


def ensure_private_directory(directory: Path) -> None:
    """Make a user's directory, or make sure that an existing one is theirs alone, and stays so.

    Raises:
        JobctlError: it can't be made or used, belongs to another user, or lies where others could
            put another in its place.
    """
    # Its name is shown, is part of labels and of the gateway's configuration.
    if not str(directory).isprintable():
        raise JobctlError(
            f"can't use the state directory {str(directory)!a}: its name has control "
            "characters in it, or is no UTF-8; set general.user_dir_base"
        )
    try:
        _make(directory)
        real = ownership.real_path(directory)
        descriptor = os.open(real, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            _make_private(descriptor, directory)
        finally:
            os.close(descriptor)
        if not os.access(real, os.R_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise JobctlError(
            f"can't use the state directory {directory}: {error.strerror}; "
            "mend its permissions or set general.user_dir_base"
        ) from None


def _make(directory: Path) -> None:
    """Make a private directory and those above it, which others may not write with any umask.

    They may pass through those: root's apps run as another user and find mounted files by them.
    """
    for missing in reversed(directory.parents):
        if not missing.exists():
            missing.mkdir(mode=0o755, exist_ok=True)
    directory.mkdir(mode=0o700, exist_ok=True)


def _make_private(descriptor: int, directory: Path) -> None:
    found = os.fstat(descriptor)
    if found.st_uid != os.getuid():
        raise JobctlError(
            f"{directory} belongs to uid {found.st_uid}, not to you (uid {os.getuid()}); "
            "set general.user_dir_base to a directory of your own"
        )
    if found.st_mode & 0o077:
        os.fchmod(descriptor, 0o700)


def write_private(path: Path, data: bytes, *, durable: bool = False) -> None:
    """Write a file that nobody else can read, not even for an instant.

    It appears whole or not at all, in place of what was there; a symbolic link is replaced, not
    followed. Callers hold the lock that goes with the file. With ``durable`` its contents survive
    a crash of the host once it has appeared.

    Raises:
        Unwritable: it can't be written; what was there still is.
    """
    try:
        _write(path, data, durable=durable)
    except OSError as error:
        raise Unwritable(f"can't write {path}: {error.strerror}; see: jobctl doctor") from None
    except ValueError as error:  # a NUL in its name, or half a character
        raise JobctlError(f"can't write {str(path)!a}: {error}; choose another name") from None


def _write(path: Path, data: bytes, *, durable: bool) -> None:
    scratch = path.with_name(f"{path.name}.new")
    scratch.unlink(missing_ok=True)  # left by a process that was killed
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        scratch.replace(path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise


def job_ids(directory: Path) -> set[str]:
    """Return the ids of the jobs that there are files of."""
    return {found[1] for path in directory.iterdir() if (found := _OF_A_JOB.match(path.name))}


def files_of(directory: Path, job_id: str) -> list[Path]:
    """Return the files of a job: those named by its id with a dot or an underscore behind it."""
    return sorted(path for sign in "._" for path in directory.glob(f"{job_id}{sign}*"))


def hand_over(directory: Path, job_id: str, uid: int) -> None:
    """Give a job's files to the user that its containers run as, and to nobody else.

    Raises:
        JobctlError: one of them can't be given away, as is so with a symbolic link.
    """
    for path in files_of(directory, job_id):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                found = os.fstat(descriptor)
                os.fchmod(descriptor, 0o700 if stat.S_ISDIR(found.st_mode) else 0o600)
                if found.st_uid != uid:
                    os.fchown(descriptor, uid, uid)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise JobctlError(
                f"{path} can't be a file of {job_id}: {error.strerror}; move it away"
            ) from None


def remove(directory: Path, job_id: str) -> None:
    """Remove all files of a job.

    Raises:
        JobctlError: one of them can't be removed.
    """
    for path in files_of(directory, job_id):
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise JobctlError(
                f"can't remove {path}: {error.strerror}; mend that and try again"
            ) from None
