"""The authorities that the programs of a whole host trust, such as curl, git and Python."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from jobctl.errors import JobctlError

_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"  # not on the path of every user


@dataclass(frozen=True)
class Store:
    """A directory for further authorities, and the command that takes notice of a change in it."""

    directory: Path
    command: str

    def files(self) -> list[Path]:
        """Return the files that jobctl has put there."""
        return sorted(self.directory.glob("jobctl-*.crt"))

    def change(self, *, add: tuple[str, bytes] | None, remove: Iterable[Path]) -> None:
        """Put a file there, by name and contents, remove others, and have it noticed.

        Raises:
            JobctlError: that can't be done.
        """
        program = shutil.which(self.command, path=_path())
        try:
            for path in remove:
                path.unlink()
            if add:
                target = self.directory / add[0]
                target.write_bytes(add[1])
                target.chmod(0o644)
            done = subprocess.run(
                [program or self.command],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                env={**os.environ, "PATH": _path()},
            )
        except OSError as error:
            raise JobctlError(
                f"can't change {self.directory}: {error.strerror}; look at its permissions"
            ) from None
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip()
            raise JobctlError(
                f"{self.command} ended with {done.returncode}: {said}; try that by hand"
            )

    def commands(self, *, add: tuple[str, Path] | None, remove: Iterable[Path]) -> list[str]:
        """Return what does the same, for a person who may be root to type."""
        lines = [shlex.join(["sudo", "rm", "--", str(path)]) for path in remove]
        if add:
            # Root may not be let at a home directory on the network: it is read as its owner.
            words = ["sudo", "install", "-m", "644", "/dev/stdin", str(self.directory / add[0])]
            lines.append(f"{shlex.join(words)} < {shlex.quote(str(add[1]))}")
        return [*lines, f"sudo {self.command}"]


_KNOWN = (
    Store(Path("/usr/local/share/ca-certificates"), "update-ca-certificates"),  # Debian, Ubuntu
    Store(Path("/etc/pki/ca-trust/source/anchors"), "update-ca-trust"),  # RHEL, Fedora
)


def find() -> Store | None:
    """Return the store of this host, ``None`` if it has none of the known ones."""
    for store in _KNOWN:
        if store.directory.is_dir() and shutil.which(store.command, path=_path()):
            return store
    return None


def _path() -> str:
    return f"{os.environ.get('PATH', os.defpath)}:{_SBIN}"
