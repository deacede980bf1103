"""Who on this host gets to a file, as the kernel decides it: path_resolution(7), inode(7).

Only people count that this host lists (getpwent(3), getgrent(3)); a directory service may keep
some of them to itself.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

READ, WRITE, SEARCH = 4, 2, 1
_ACL = "system.posix_acl_access"


@dataclass(frozen=True)
class Person:
    """An account, with those of its groups that matter."""

    name: str
    uid: int
    gids: frozenset[int] = frozenset()


EVERYBODY = Person("everybody on this host", -1)


def reaching(path: Path, bit: int) -> list[Person]:
    """Return who, beside root and the caller, may read or write what is at ``path``.

    Raises:
        OSError: it is not there, or can't be looked at.
    """
    *above, found = _way(path)

    def may(person: Person) -> bool:
        return allowed(person, found, bit) and all(allowed(person, one, SEARCH) for one in above)

    if may(EVERYBODY):
        return [EVERYBODY]
    people = _people({one.st_gid for one in (*above, found)})
    return [one for one in people if one.uid not in (0, os.getuid()) and may(one)]


def allowed(person: Person, found: os.stat_result, bit: int) -> bool:
    """Tell whether the mode lets a person do that: as owner, else by a group, else as others."""
    if person.uid == found.st_uid:
        shift = 6
    elif found.st_gid in person.gids:
        shift = 3
    else:
        shift = 0
    return bool(found.st_mode >> shift & bit)


def has_acl(path: Path) -> bool:
    """Tell whether an access control list has a say beside the mode, acl(5)."""
    real = path.resolve()
    return any(_acl(one) for one in (real, *real.parents))


def describe(path: Path) -> str:
    """Return the mode, owner and group of a file in words."""
    found = path.stat()
    return (
        f"mode {stat.S_IMODE(found.st_mode):04o}, owner {user_name(found.st_uid)}, "
        f"group {group_name(found.st_gid)}"
    )


def user_name(uid: int) -> str:
    """Return the name of a user, or the number of one without."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def group_name(gid: int) -> str:
    """Return the name of a group, or the number of one without."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return f"gid {gid}"


def _way(path: Path) -> list[os.stat_result]:
    real = path.resolve(strict=True)
    return [one.stat() for one in (*reversed(real.parents), real)]


def _people(gids: Iterable[int]) -> list[Person]:
    members = {gid: _members(gid) for gid in gids}
    return [
        Person(
            account.pw_name,
            account.pw_uid,
            frozenset(
                gid
                for gid, names in members.items()
                if account.pw_name in names or account.pw_gid == gid
            ),
        )
        for account in pwd.getpwall()
    ]


def _members(gid: int) -> frozenset[str]:
    try:
        return frozenset(grp.getgrgid(gid).gr_mem)
    except KeyError:
        return frozenset()


def _acl(path: Path) -> bool:
    try:
        return bool(os.getxattr(path, _ACL))
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.EOPNOTSUPP):
            return False
        raise
