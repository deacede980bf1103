"""Files on disk: private from birth, replaced atomically, and all of a job's found by its id."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from jobctl.errors import JobctlError


def ensure_private_directory(directory: Path) -> None:
    """Make a user's directory, or make sure that an existing one is theirs alone.

    Raises:
        JobctlError: it can't be made or used, or it belongs to another user.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.lstat()
        if found.st_uid != os.getuid():
            raise JobctlError(
                f"{directory} belongs to uid {found.st_uid}, not to you (uid {os.getuid()}); "
                "set general.user_dir_base to a directory of your own"
            )
        if found.st_mode & 0o077:
            directory.chmod(0o700)
        if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
            raise PermissionError(13, "permission denied")
    except OSError as error:
        raise JobctlError(
            f"can't use the state directory {directory}: {error.strerror}; "
            "mend its permissions or set general.user_dir_base"
        ) from None


def write_private(path: Path, data: bytes, *, durable: bool = False) -> None:
    """Write a file that nobody else can read, not even for an instant.

    It appears whole or not at all, in place of what was there; a symbolic link is replaced, not
    followed. Callers hold the lock that goes with the file. With ``durable`` its contents survive
    a crash of the host once it has appeared.

    Raises:
        JobctlError: it can't be written; what was there still is.
    """
    try:
        _write(path, data, durable=durable)
    except OSError as error:
        raise JobctlError(f"can't write {path}: {error.strerror}") from None


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
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise JobctlError(f"{path} can't be a file of {job_id}: {error.strerror}") from None
        try:
            os.fchmod(descriptor, 0o600)
            if os.fstat(descriptor).st_uid != uid:
                os.fchown(descriptor, uid, uid)
        finally:
            os.close(descriptor)


def remove(directory: Path, job_id: str) -> None:
    """Remove all files of a job."""
    for path in files_of(directory, job_id):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
