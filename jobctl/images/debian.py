"""The base image without a registry: a Debian root file system from mmdebstrap, on this host.

Needs no file on the way: what mmdebstrap writes goes straight to the engine.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from jobctl.engines.base import Engine
from jobctl.errors import JobctlError
from jobctl.images.site import apt_proxy_environment
from jobctl.progress import Report, Step

SUITE = "bookworm"
# Files get no later time than this, so that the same packages make the same image.
EPOCH = 1735689600  # 2025-01-01
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

# Merged /usr as Debian's installer makes it, instead of by a package that brings all of Perl
# (its alternative `usr-is-merged` suffices, but apt does not choose it by itself).
_MERGE_USR = """\
for directory in bin sbin lib lib64; do
    mkdir -p "$1/usr/$directory"
    ln -s "usr/$directory" "$1/$directory"
done
mkdir -p "$1/etc/apt/preferences.d"
printf 'Package: usrmerge\\nPin: release *\\nPin-Priority: -1\\n' >"$1/etc/apt/preferences.d/merged"
"""
_TIDY = 'rm -rf "$1"/etc/apt/preferences.d/merged "$1"/var/log/* "$1"/var/cache/debconf/*-old'


def import_base(
    engine: Engine,
    recipe: Path,
    *,
    tag: str,
    instead_of: str,
    labels: Mapping[str, str],
    report: Report,
) -> None:
    """Make the image ``tag`` of the packages and the exclusions listed in the directory ``recipe``.

    Raises:
        JobctlError: mmdebstrap or Debian's keys are missing, ``instead_of`` which image they are
            needed; or mmdebstrap failed, and the engine has no new image then.
    """
    _check_tools(instead_of)
    # apt inside reads no configuration of this host: nothing of it can stay in the image.
    environment = {**os.environ, **apt_proxy_environment(), "SOURCE_DATE_EPOCH": str(EPOCH)}
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            mmdebstrap_command(recipe), stdout=subprocess.PIPE, stderr=errors, env=environment
        ) as process,
    ):
        assert process.stdout is not None  # noqa: S101, for mypy: stdout=PIPE above
        try:
            rootfs = io.BufferedReader(_Rootfs(process, process.stdout, errors, report), 1 << 20)
            engine.import_image(rootfs, tag=tag, labels=labels)
        finally:
            process.terminate()


def mmdebstrap_command(recipe: Path) -> list[str]:
    """Return the command that writes the root file system to stdout, as a tar."""
    packages = (recipe / "packages").read_text().split()
    return [
        "mmdebstrap",
        "--quiet",
        "--mode=auto",
        "--variant=minbase",
        "--format=tar",
        f"--include={','.join(['usr-is-merged', *packages])}",
        '--aptopt=APT::Install-Recommends "false"',
        *(f"--dpkgopt={line}" for line in (recipe / "dpkg.cfg").read_text().splitlines()),
        f"--setup-hook={_MERGE_USR}",
        f"--customize-hook={_TIDY}",
        SUITE,
        "-",
    ]


def _check_tools(instead_of: str) -> None:
    if shutil.which("mmdebstrap") is None:
        raise JobctlError(
            f'the engine can\'t pull "{instead_of}" and mmdebstrap, which could make the like, is '
            "not installed. Install it (Debian: apt install mmdebstrap; Ubuntu: apt install "
            "mmdebstrap debian-archive-keyring), or bring the image from a machine that can pull "
            f"it: docker save {instead_of} there, docker load here"
        )
    if not _KEYRING.exists():
        raise JobctlError(
            f'mmdebstrap needs the keys of Debian\'s archive, and there is no "{_KEYRING}"; '
            "install them: apt install debian-archive-keyring"
        )


def _advice() -> str:
    if os.getuid() == 0:
        return ""
    return "; without root it needs newuidmap (package uidmap) and a range in /etc/subuid"


class _Rootfs(io.RawIOBase):
    """What mmdebstrap writes. It ends only if mmdebstrap ended well, else reading raises.

    A tar that was cut short would otherwise become an image like any other.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        stdout: IO[bytes],
        errors: IO[bytes],
        report: Report,
    ) -> None:
        self._process, self._stdout, self._errors = process, stdout, errors
        self._report, self._read = report, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        data = self._stdout.read(len(buffer))
        if not data and (code := self._process.wait()):
            self._errors.seek(0)
            said = self._errors.read().decode(errors="replace").strip()[-2000:]
            raise JobctlError(f"mmdebstrap failed ({code}){_advice()}; see what it said:\n{said}")
        self._read += len(data)
        self._report(
            Step("the engine gets what mmdebstrap makes", depth=2, passing=True, done=self._read)
        )
        buffer[: len(data)] = data
        return len(data)
