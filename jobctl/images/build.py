"""Building images: which are missing or out of date, in which order, from where.

Asks an engine and tells the caller how it goes; never prints.
"""

from __future__ import annotations

import os
import re
import secrets
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jobctl.engines.base import Engine, Image, Transfer
from jobctl.errors import EngineUnreachable, ImageMissing, JobctlError
from jobctl.images.debian import import_base
from jobctl.images.site import proxy_args, site_files
from jobctl.images.source import BASE, OURS, Source, context, digest, plain
from jobctl.progress import Report, Step

LABEL = "jobctl.build"
"""The label with the digest of what an image was built from."""

LAST_LINES = 20
_USERINFO = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_STEP = re.compile(r"Step \d+/\d+ : ")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, kw_only=True)
class ListedImage:
    """One of our images; ``size`` is in bytes, and ``id`` is ``None``, while it is not present.

    ``current`` says that it was built from what its source is now.
    """

    tag: str
    present: bool
    current: bool
    size: int | None = None
    id: str | None = None


def ensure_image(
    engine: Engine,
    tag: str,
    sources: Mapping[str, Source],
    report: Report,
    *,
    rebuild: bool = False,
) -> Image:
    """Return the image ``tag``, built or pulled first where needed; its parents before it.

    One that is there and current costs one request. ``rebuild`` builds this one anew, without
    the engine's cache, and its parents only if they changed. Two at once are harmless: both
    build the same and the later one gets the name.

    Raises:
        ImageMissing: it is not one of ours and its registry does not give it.
        JobctlError: there is no source for it, or the build failed; with its last lines.
    """
    tag = plain(tag)
    source = sources.get(tag)
    if source is None:
        return _without_source(engine, tag, report)
    wanted = digest(source, sources)
    found = engine.image(tag)
    if found and found.labels.get(LABEL) == wanted and not rebuild:
        return found
    for parent in source.parents:
        if parent.startswith(OURS):
            ensure_image(engine, parent, sources, report)
    report(Step(f"{tag}: building, {_why(found, rebuild=rebuild)}"))
    labels = {LABEL: wanted}
    recipe = source.recipe
    if tag == BASE and isinstance(recipe, Path) and not _from_registry(engine, source, report):
        parent = source.parents[0]
        import_base(engine, recipe, tag=tag, instead_of=parent, labels=labels, report=report)
    else:
        _build(engine, source, labels, report, rebuild=rebuild)
    built = engine.image(tag)
    if built is None:
        raise JobctlError(f"{tag} was built and is gone again; somebody removed it: try again")
    report(Step(f"{tag}: done, {built.size / 1e6:.0f} MB"))
    return built


def listing(engine: Engine, sources: Mapping[str, Source]) -> list[ListedImage]:
    """Return what the engine has of each source's image; parents first."""
    return [_listed(engine.image(tag), source, sources) for tag, source in sources.items()]


def _listed(image: Image | None, source: Source, sources: Mapping[str, Source]) -> ListedImage:
    if image is None:
        return ListedImage(tag=source.tag, present=False, current=False)
    return ListedImage(
        tag=source.tag,
        present=True,
        current=image.labels.get(LABEL) == digest(source, sources),
        size=image.size,
        id=image.id,
    )


def _why(found: Image | None, *, rebuild: bool) -> str:
    if found is None:
        return "the engine does not have it"
    return "as asked" if rebuild else "its source changed"


def _without_source(engine: Engine, tag: str, report: Report) -> Image:
    found = engine.image(tag)
    if found is None and tag.startswith(OURS):
        raise JobctlError(
            f'there is no source for the image "{tag}"; expected '
            f"{tag.removeprefix(OURS)}/Dockerfile in a directory of images; see: jobctl images ls"
        )
    if found is None:
        found = engine.image(tag) if _pull(engine, tag, Step(f"{tag}: pulling"), report) else None
    if found is None:
        raise ImageMissing(tag)
    return found


def _pull(engine: Engine, tag: str, step: Step, report: Report) -> bool:
    """Return whether an image could be pulled, which ``step`` says, and how much of it came."""

    def seen(so_far: Transfer) -> None:
        report(Step(step, depth=step.depth, passing=True, done=so_far.done, total=so_far.total))

    report(step)
    return engine.pull(tag, seen)


def _from_registry(engine: Engine, source: Source, report: Report) -> bool:
    """Return whether the engine has, or can pull, what the base image starts from; say which."""
    parent = source.parents[0]
    look = Step(f"{source.tag}: looking for {parent} in the engine's registry", depth=1)
    if pulled := _pull(engine, parent, look, report):
        how = f"from {parent}, which the engine pulled from a registry"
    elif found := engine.image(parent):
        how = f"from {parent}, which the engine has; no registry gave a newer one"
    else:
        how = f"with mmdebstrap, because no registry gave the engine {parent}"
    report(Step(f"{source.tag}: {how}", depth=1))
    return pulled or bool(found)


def _build(
    engine: Engine, source: Source, labels: Mapping[str, str], report: Report, *, rebuild: bool
) -> None:
    site = site_files(os.environ)
    if rebuild:
        # The engine's cache ends where a stage copies a file that it has not seen.
        site["rebuild"] = secrets.token_bytes(16)
    last: deque[str] = deque(maxlen=LAST_LINES)
    with context(source, site) as tar:
        try:
            for line in engine.build(
                tar, tag=source.tag, labels=labels, args=proxy_args(os.environ)
            ):
                if said := _said(line):
                    last.append(said)
                    report(Step(said, depth=1 if _STEP.match(said) else 2))
        except EngineUnreachable:
            raise
        except JobctlError as error:
            reason = _said(str(error))
            output = "".join(f"\n  {line}" for line in last)
            raise JobctlError(f"{source.tag}: {reason}. The last lines were:{output}") from None


def _said(line: str) -> str:
    """Return a line of the builder without colours, and without the passwords that URLs carry."""
    return _USERINFO.sub("***", _COLOUR.sub("", line)).rstrip()
