"""Puts the sections of the new file together, under the names that apps may have now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jobctl.config import General
from jobctl.errors import JobctlError
from jobctl.legacy import document, ini, readings
from jobctl.legacy.ini import Block
from jobctl.legacy.notes import Notes
from jobctl.legacy.sections import Writer
from jobctl.schema import nearest_app_name


@dataclass(frozen=True)
class Imported:
    """The text of a ``config.yaml``, and what somebody has to know or do before using it."""

    text: str
    notes: tuple[str, ...]


def convert(text: str, *, source: Path, target: Path) -> Imported:
    """Return an older ``config.ini`` as the text of a ``config.yaml`` that loads.

    ``source`` is where the INI file lay, from whose directory its relative paths count;
    ``target`` is where the YAML file will lie. App modules are looked at, nothing is changed.

    Raises:
        JobctlError: it is no INI file, or two of its sections would be one app.
    """
    blocks, trailing = ini.read(text, source)
    notes = Notes(source)
    writer = Writer(notes, source.parent.absolute(), target.parent.absolute())
    general, defaults, rest = _sorted(blocks, source)
    apps = _named(rest, notes)
    above = [*_spread(defaults, general, apps, writer), *document.comments(general.comments)]
    sections: list[str] = []
    for name, block in apps.items():
        section = document.mapping(name, writer.app(name, block))
        sections += [*([""] if sections else []), *document.comments(block.comments), *section]
    lines = [
        *document.comments([f" Made from {source.name} by: jobctl config import"]),
        *document.comments([" Relative paths count from this file's own directory."]),
        "",
        *above,
        *document.mapping("general", writer.general(general, apps)),
        "",
        *document.mapping("apps", sections),
        *([""] if trailing else []),
        *document.comments(trailing),
    ]
    return Imported("\n".join(lines) + "\n", notes.told())


def _sorted(blocks: Sequence[Block], source: Path) -> tuple[Block, Block, list[Block]]:
    """Return the section general, the section DEFAULT, and those of apps."""
    general, defaults = Block("general", 0, []), Block(ini.DEFAULT, 0, [])
    rest = []
    for block in blocks:
        if block.name == ini.DEFAULT:
            defaults = block
        elif block.name.strip().lower() == "general":
            if general.line:
                raise JobctlError(
                    f"{source}:{block.line}: [{block.name}] and [{general.name}] on line "
                    f"{general.line}; make one section of the two"
                )
            general = block
        else:
            rest.append(block)
    return general, defaults, rest


def _named(blocks: Sequence[Block], notes: Notes) -> dict[str, Block]:
    """Return the sections of apps by the names that they have from now on."""
    apps: dict[str, Block] = {}
    for block in blocks:
        where = f"{notes.source}:{block.line}: [{block.name}]"
        name = block.name
        if readings.refusal({"apps": {name: {}}}) is not None:
            name = nearest_app_name(block.name)
            if not name:
                raise JobctlError(f"{where} can't be the name of an app; rename it, say to [app]")
            notes.add(
                block.line,
                f"[{block.name}]: apps now have names of lower-case letters, digits, dashes and "
                f"underscores; launch it with: jobctl run {name}",
            )
            block.comments.append(f" [{block.name}] in {notes.source.name}")
        if name in apps:
            raise JobctlError(
                f"{where} and [{apps[name].name}] on line {apps[name].line} would both be the app "
                f'"{name}"; rename one of them'
            )
        apps[name] = block
    return apps


def _spread(
    defaults: Block, general: Block, apps: Mapping[str, Block], writer: Writer
) -> list[str]:
    """Write DEFAULT out in the sections that it holds for; return what is left of it."""
    lines = document.comments(defaults.comments)
    for lower, key in defaults.keys.items():
        users = [general] if lower in General.__struct_fields__ else list(apps.values())
        missing = [block for block in users if lower not in block.keys]
        for block in missing:
            block.keys[lower] = replace(key, comments=[])
        if missing:
            names = ", ".join(f"[{block.name}]" for block in missing)
            texts = [*key.comments, f" [DEFAULT] {key.name}: written out in {names}"]
            lines += document.comments(texts)
            writer.notes.about(key, f"there are no defaults any more; written out in {names}")
        else:
            lines += writer.dropped(key, "every section has its own", then="; remove that")
    return lines
