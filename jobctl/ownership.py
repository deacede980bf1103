"""Whose files are: nobody but root and the caller may change what decides or runs something.

In the manner of the strict modes of ssh: what others may write is refused, and so is what they
could put something else in the place of, by way of a directory above it. A group counts as others,
unless it is the caller's private one, which nobody else is in.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections import deque
from functools import cache
from pathlib import Path

from jobctl.errors import JobctlError

MOST_LINKS = 40  # as in the kernel, see path_resolution(7)


def real_path(path: Path) -> Path:
    """Return where a path leads to, once nobody else can make it lead elsewhere.

    What is there itself is for the caller to look at.

    Raises:
        JobctlError: others may write a directory on the way, or own it or a symbolic link there.
        OSError: something on the way is not there or can't be looked at.
    """
    path = path.absolute()
    here = Path("/")
    _check_directory(here, path)
    rest = deque(path.parts[1:])
    links = 0
    # From the root on: what has been looked at can't be swapped any more.
    while rest:
        part = rest.popleft()
        if part == "..":
            here = here.parent
            continue
        entry = here / part
        found = entry.lstat()
        if stat.S_ISLNK(found.st_mode):
            links += 1
            if links > MOST_LINKS:
                raise JobctlError(f"{path}: too many symbolic links; name the file itself")
            _check_owner(entry, found, path)
            target = entry.readlink()
            here = Path("/") if target.is_absolute() else here
            rest.extendleft(reversed(target.parts[1:] if target.is_absolute() else target.parts))
            continue
        if rest:
            _check_directory(entry, path)
        here = entry
    return here


def read(path: Path, *, most: int) -> bytes:
    """Return what is in a file that only root and the caller can have written.

    Raises:
        JobctlError: others can write or swap it, or it is no ordinary file of ``most`` bytes.
        OSError: it can't be read.
    """
    real = real_path(path)
    if not stat.S_ISREG(real.lstat().st_mode):  # opening a device may do something
        raise _no_file(path)
    descriptor = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):  # its owner has swapped it since
            raise _no_file(path)
        if found.st_uid not in _trusted():
            raise JobctlError(
                f"{path} (mode {_mode(found)}) belongs to uid {found.st_uid}; only root's files and"
                f" your own are used: make a copy of your own, once you know what is in it"
            )
        if others_may_write(found):
            raise JobctlError(
                f"{path} (mode {_mode(found)}) can be written by others, who could run programs as "
                f"you through it; look at it, then: chmod go-w {path}"
            )
        return _limited(path, file.read(most + 1), most)


def read_plain(path: Path, *, most: int) -> bytes:
    """Return what is in an ordinary file, whoever may have written it; as ``read`` otherwise."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise _no_file(path)
    with path.open("rb") as file:
        return _limited(path, file.read(most + 1), most)


def check_own(found: os.stat_result, path: Path) -> None:
    """Make sure that what was found at ``path`` is an ordinary file of the caller's.

    Raises:
        JobctlError: it is not.
    """
    if not stat.S_ISREG(found.st_mode):
        raise JobctlError(f"{path} is no ordinary file; move it away")
    if found.st_uid != os.getuid():
        raise JobctlError(
            f"{path} belongs to uid {found.st_uid}, not to you (uid {os.getuid()}); move it away"
        )


def others_may_write(found: os.stat_result) -> bool:
    """Tell whether anybody but the owner (and the caller) may write a file or directory."""
    if found.st_mode & stat.S_IWOTH:
        return True
    return bool(found.st_mode & stat.S_IWGRP) and found.st_gid != private_group(os.getuid())


@cache
def private_group(uid: int) -> int | None:
    """Return the group that only this user is in, ``None`` if there is none.

    That is the primary one if it has the user's name and no other member, as ``useradd`` makes it.
    """
    try:
        account = pwd.getpwuid(uid)
        group = grp.getgrgid(account.pw_gid)
    except KeyError:
        return None
    alone = group.gr_name == account.pw_name and set(group.gr_mem) <= {account.pw_name}
    return group.gr_gid if alone else None


def _trusted() -> tuple[int, int]:
    return 0, os.getuid()


def _check_directory(directory: Path, path: Path) -> None:
    found = directory.lstat()
    _check_owner(directory, found, path)
    if others_may_write(found) and not found.st_mode & stat.S_ISVTX:
        raise JobctlError(
            f"{directory} (mode {_mode(found)}) can be written by others, who could put something "
            f"else in the place of {path}; close it with: chmod go-w {directory}, make it sticky "
            f"with: chmod +t {directory}, or use another place"
        )


def _check_owner(entry: Path, found: os.stat_result, path: Path) -> None:
    if found.st_uid not in _trusted():
        raise JobctlError(
            f"{entry} (mode {_mode(found)}) belongs to uid {found.st_uid}, who could put something "
            f"else in the place of {path}; have it given to root, or use another place"
        )


def _no_file(path: Path) -> JobctlError:
    return JobctlError(f"{path} is no ordinary file; name one")


def _limited(path: Path, data: bytes, most: int) -> bytes:
    if len(data) > most:
        raise JobctlError(f"{path} is longer than {most} bytes; name another file")
    return data


def _mode(found: os.stat_result) -> str:
    return f"{stat.S_IMODE(found.st_mode):04o}"
