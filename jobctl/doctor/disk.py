"""The disks: whether there is room where jobctl and the engine write."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from jobctl.doctor.finding import Answer, NotSeen, ok, problem, warning, worst
from jobctl.doctor.subject import Subject
from jobctl.errors import JobctlError

_MB = 1_000_000
# Records and the files of a job take some ten kilobytes, in about ten files.
_STATE = (1 * _MB, 50 * _MB)
# An image takes up to half a gigabyte to build, the logs of a job's containers up to 60 MB.
_ENGINE = (100 * _MB, 2000 * _MB)
_FILES = (20, 500)


def room(subject: Subject) -> Answer:
    """Look at what is free for the caller's files, and for the engine's where that is here."""
    answers = [_at("your records", subject.broker.directory, _STATE, "jobctl prune, or make room")]
    try:
        if subject.engine.local_socket and _is_here(root := subject.facts.data_root):
            advice = "docker system df says what takes it, docker image prune frees some"
            answers.append(_at("the engine's data", Path(root), _ENGINE, advice))
    except (NotSeen, JobctlError):
        pass  # said of the engine
    return worst(answers)


def _at(what: str, path: Path, bytes_wanted: tuple[int, int], advice: str) -> Answer:
    """Look at one place; ``bytes_wanted`` is what it can't do without, and what it should have."""
    here, found = _file_system(path)
    free, files = found.f_bavail * found.f_frsize, found.f_favail
    if found.f_flag & os.ST_RDONLY:
        return problem(f"{what}: the file system of {here} is read-only", "mount it to be written")
    seen = f"{what}: {_size(free)} free at {here}"
    short = [free < least for least in bytes_wanted]
    if found.f_files:  # some file systems make room for files as they come
        seen += f", and room for {files} files"
        short = [few or files < least for few, least in zip(short, _FILES, strict=True)]
    if short[0]:
        return problem(seen, advice)
    return warning(seen, advice) if short[1] else ok(seen)


def _file_system(path: Path) -> tuple[Path, os.statvfs_result]:
    """Return what can be seen of where a path is: others' directories show only those above."""
    for here in (path, *path.parents):
        try:
            return here, os.statvfs(here)
        except OSError:
            continue
    return Path("/"), os.statvfs("/")


def _is_here(path: str) -> bool:
    """Tell whether a path is on this host, be it that it can't be looked into."""
    try:
        return bool(path) and bool(Path(path).stat())
    except OSError as error:
        return error.errno == errno.EACCES


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
