"""What a job can be shown where the engine is on another machine: what lies there, nothing of here.

A path that is mounted is one of the engine's host. What would have to be the caller's own says so.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

from jobctl.engines.base import Bind, Facts
from jobctl.errors import JobctlError
from jobctl.ledger import Ledger

_SOCKETS = ("/run/docker.sock", "/var/run/docker.sock", "/run/podman", "/run/user")


def check_directory(ledger: Ledger, where: str, mounts: Sequence[Bind], *, writes: bool) -> None:
    """Say that an app does not see the caller's directory, unless a mount takes its place.

    Raises:
        JobctlError: the app ``writes`` to it, and all that would be lost.
    """
    if any(bind.target == where for bind in mounts):
        return
    host = ledger.place.host
    if writes:
        raise JobctlError(
            f"the app works in your current directory, {where}, of this host, and the engine is on "
            f"{host}; show a directory of {host} in its place: --mount DIRECTORY:{where}:rw"
        )
    ledger.report(
        f"the app does not see {where}: the engine is on {host}; show a directory of {host} in its "
        f"place with: --mount DIRECTORY:{where}"
    )


def check_mounts(mounts: Sequence[Bind], facts: Facts) -> None:
    """Make sure that no mount shows the engine's socket or its data, as far as can be told.

    Whether the paths are there is for the engine to say. Links on its host can't be followed here.

    Raises:
        JobctlError: one does.
    """
    for bind in mounts:
        source = posixpath.normpath(bind.source)
        for kept in filter(None, (*_SOCKETS, facts.data_root)):
            if _within(kept, source) or _within(source, kept):
                raise JobctlError(
                    f"can't mount \"{bind.source}\" of {facts.host}: {kept} is the engine's, and "
                    "who reaches that is root there or reads the keys of all jobs; mount another "
                    "directory"
                )


def _within(path: str, directory: str) -> bool:
    return posixpath.commonpath([path, directory]) == directory
