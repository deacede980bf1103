"""The databases in which Chromium and Firefox keep whom they trust, by way of NSS's certutil."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from jobctl.errors import JobctlError

PROGRAM = "certutil"
_CHROMIUM = ".pki/nssdb"
_KNOWN = (
    *(_CHROMIUM, ".local/share/pki/nssdb"),
    *("snap/*/current/.pki/nssdb", "snap/*/common/.pki/nssdb", ".var/app/*/.pki/nssdb"),
    *(".mozilla/firefox/*", ".config/mozilla/firefox/*", ".librewolf/*"),
    *("snap/*/common/.mozilla/firefox/*", ".var/app/*/.mozilla/firefox/*"),
)
_TIMEOUT_S = 30
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n?", re.DOTALL)


@dataclass(frozen=True)
class Database:
    """One database: the directory that its files are in."""

    directory: Path

    def create(self) -> None:
        """Make it, empty and without a password, as Chromium would."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._run("-N", "--empty-password")

    def nicknames(self) -> list[str]:
        """Return the names of what it holds."""
        lines = self._run("-L").decode(errors="replace").splitlines()
        found = (re.fullmatch(r"(.*?) +[a-zA-Z]*,[a-zA-Z]*,[a-zA-Z]*\s*", line) for line in lines)
        return [one[1] for one in found if one]

    def certificates(self, nickname: str) -> list[bytes]:
        """Return the certificates, PEM, that have the same subject as the one of that name."""
        return _PEM.findall(self._run("-L", "-a", "-n", nickname))

    def add(self, nickname: str, certificate: bytes) -> None:
        """Trust an authority, PEM, to sign for servers."""
        try:
            self._run("-A", "-a", "-t", "C,,", "-n", nickname, given=certificate)
        except JobctlError:
            # Where a password protects the trust, the certificate alone gets in.
            if nickname in self.nicknames():
                self.remove(nickname)
            raise

    def remove(self, nickname: str) -> None:
        """Forget a certificate, and that it was trusted."""
        self._run("-D", "-n", nickname)

    def _run(self, *words: str, given: bytes = b"") -> bytes:
        command: list[str | Path] = [PROGRAM, "-d", f"sql:{self.directory}", *words]
        try:
            done = subprocess.run(
                command,
                input=given,
                capture_output=True,
                check=False,
                timeout=_TIMEOUT_S,
                start_new_session=True,  # else it would ask for passwords at the terminal
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise JobctlError(f"{PROGRAM}: {error}; close the browser and try again") from None
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip()
            raise JobctlError(f"{said}; see: {PROGRAM} -L -d sql:{self.directory}")
        return done.stdout


def available() -> bool:
    """Tell whether there is the program that changes databases."""
    return shutil.which(PROGRAM) is not None


def databases(home: Path) -> list[Database]:
    """Return the databases of the browsers of the user whose home that is, as far as they exist."""
    found = {path for pattern in _KNOWN for path in home.glob(pattern)}
    return [
        Database(path)
        for path in sorted(found)
        if (path / "cert9.db").is_file() and path.stat().st_uid == os.geteuid()
    ]


def default(home: Path) -> Database:
    """Return the database that Chromium would make."""
    return Database(home / _CHROMIUM)
