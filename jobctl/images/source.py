"""What an image is made from: a Dockerfile and files beside it, their digest and build context.

Reads the directories they are in and nothing else; knows no engine.
"""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import IO

from jobctl.errors import JobctlError

OURS = "jobctl/"
"""How the tags of our images start. No registry is ever asked for one: it would be a stranger's."""

BASE = f"{OURS}base"
"""The image that the others start from."""

SITE = ".jobctl-site"
"""The directory of a build context that holds this host's settings, which no image keeps."""

# Raise it when what this package does changes what the same files become.
_EDITION = "1"
_NOT_BUILT_FROM = ("README*", "Dockerfile.*", "__pycache__", "*.pyc", "*~", ".*")
_FROM = re.compile(r"^\s*FROM\s+(?:--\S+\s+)*(\S+)", re.IGNORECASE | re.MULTILINE)
_STAGE = re.compile(r"^\s*FROM\s.*\sAS\s+(\S+)\s*$", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Source:
    """What the image ``tag`` is built from; ``parents`` are the images that it starts from.

    ``recipe`` is a directory with a Dockerfile, or the contents of such a one by name.
    """

    tag: str
    recipe: Path | Mapping[str, bytes]
    parents: tuple[str, ...]


def known_sources(directories: Iterable[Path]) -> dict[str, Source]:
    """Return the source of each ``jobctl/NAME`` that has a ``NAME/Dockerfile``, parents first.

    Of two with one name the one in the earlier directory counts.

    Raises:
        JobctlError: a Dockerfile can't be read, or images start from each other.
    """
    found: dict[str, Source] = {}
    for directory in directories:
        for dockerfile in sorted(directory.glob("*/Dockerfile")):
            tag = OURS + dockerfile.parent.name
            if tag not in found:
                parents = _parents(dockerfile)
                found[tag] = Source(tag=tag, recipe=dockerfile.parent, parents=parents)
    return dict(sorted(found.items(), key=lambda item: (len(_line(item[0], found)), item[0])))


def plain(tag: str) -> str:
    """Return a tag without the ``:latest`` that it means anyway."""
    return tag.removesuffix(":latest")


def digest(source: Source, sources: Mapping[str, Source]) -> str:
    """Return what tells apart everything that shapes an image: its files and its parents'."""
    result = hashlib.sha256(_EDITION.encode())
    for parent in source.parents:
        below = digest(sources[parent], sources) if parent in sources else ""
        result.update(f"\0from {parent} {below}".encode())
    for entry, content in _entries(source.recipe):
        result.update(f"\0{entry.name}\0{entry.mode:o}\0{entry.linkname}\0".encode())
        result.update(hashlib.sha256(content).digest())
    return result.hexdigest()


def context(source: Source, site: Mapping[str, bytes]) -> IO[bytes]:
    """Return the build context with ``site`` in its own directory: a tar, same for the same."""
    spool: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115, the caller closes it
    entries = [
        *_entries(source.recipe),
        *_entries({f"{SITE}/{name}": content for name, content in site.items()}),
    ]
    with tarfile.open(fileobj=spool, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for entry, content in entries:
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    spool.seek(0)
    return spool


def _parents(dockerfile: Path) -> tuple[str, ...]:
    try:
        text = dockerfile.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise JobctlError(f'can\'t read "{dockerfile}": {error}; mend it') from None
    stages = {"scratch", *(stage.lower() for stage in _STAGE.findall(text))}
    tags = (plain(tag) for tag in _FROM.findall(text) if tag.lower() not in stages)
    return tuple(dict.fromkeys(tags))


def _line(tag: str, sources: Mapping[str, Source], above: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the longest line of sources that ends with ``tag``."""
    if tag in above:
        raise JobctlError(
            f"images start from each other: {' from '.join((*above, tag))}; change one of their "
            "FROM"
        )
    lines = [
        _line(parent, sources, (*above, tag))
        for parent in sources[tag].parents
        if parent in sources
    ]
    return (*max(lines, key=len, default=()), tag)


def _entries(recipe: Path | Mapping[str, bytes]) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    """Yield the files that count, sorted, without owners and times."""
    if isinstance(recipe, Path):
        yield from _entries_below(recipe)
    else:
        yield from ((_entry(name), content) for name, content in sorted(recipe.items()))


def _entries_below(directory: Path) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory)
        if any(fnmatch(part, shape) for part in name.parts for shape in _NOT_BUILT_FROM):
            continue
        entry = _entry(name.as_posix())
        if path.is_symlink():
            entry.type, entry.linkname = tarfile.SYMTYPE, str(path.readlink())
            yield entry, b""
        elif path.is_file():
            # Only this bit survives a checkout or a wheel; the others depend on the umask.
            entry.mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
            yield entry, path.read_bytes()


def _entry(name: str) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.mode = 0o644
    return entry
