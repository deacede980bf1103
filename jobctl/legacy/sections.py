"""One section of the older file as the lines of a section of ``config.yaml``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jobctl.config import General, Section
from jobctl.legacy import document, modules, readings
from jobctl.legacy.ini import Block, Key
from jobctl.legacy.notes import Notes
from jobctl.schema import nearest_app_name

OWN = [key for key in Section.__struct_fields__ if key not in (*readings.DOCUMENTED, "options")]
"""The keys with a meaning that they did not have for the older scripts."""

ALL_APPS = f"{readings.LIST}: ~  # null: every app below"
_DEFAULTS = {
    "server_path": "none: the module or the image says what runs",
    "app_module_path": "the default module, or app_modules beside config.yaml",
}


@dataclass(frozen=True)
class Writer:
    """Writes sections; relative paths counted from ``here`` and now count from ``there``."""

    notes: Notes
    here: Path
    there: Path

    def general(self, block: Block, apps: Mapping[str, Block]) -> list[str]:
        """Return what stands below ``general``."""
        known = General.__struct_fields__
        given = {lower: key for lower, key in block.keys.items() if lower in known}
        options = given.pop(readings.LIST, None)
        kept, reasons = self._settle(given, lambda values: {"general": values})
        if "bind_address" not in given:
            self.notes.on_the_whole(
                "jobs can be reached from this host alone; to show them to others, set "
                "general.bind_address, or launch with --bind"
            )
        lines = []
        for lower in known:
            if lower == readings.LIST:
                lines += self._offered(options, apps)
            elif lower in kept:
                lines += self._kept(lower, given[lower], kept[lower])
            elif lower in given:
                lines += self._refused(lower, given[lower], reasons[lower], General())
        for lower, key in block.keys.items():
            if lower not in known:
                then = "; remove that when nobody needs it"
                lines += self.dropped(key, "config.yaml has nothing like it", then=then)
        return lines

    def app(self, name: str, block: Block) -> list[str]:
        """Return what stands below the name of an app."""
        keys = block.keys
        given = {lower: keys[lower] for lower in (*readings.DOCUMENTED, *OWN) if lower in keys}
        kept, reasons = self._settle(given, lambda values: {"apps": {name: values}})
        lines = []
        for lower, key in given.items():
            if lower not in kept:
                lines += self._refused(lower, key, reasons[lower], Section())
                continue
            lines += self._kept(lower, key, kept[lower])
            if lower in OWN:
                self.notes.about(
                    key,
                    f"now is jobctl's own apps.{name}.{lower} and is not handed to the module; "
                    "rename the key if it is for the module",
                )
        further = [key for lower, key in keys.items() if lower not in given]
        lines += ["# Further keys are for the module."] if further else []
        for key in further:
            lines += self._further(key)
        self._note_missing(name, block)
        modules.look_into(modules.file_of(name, kept, self.there), block, self.notes)
        if kept.get("server_path"):
            self.notes.programs.append(f'{name} "{kept["server_path"]}"')
        return lines

    def dropped(self, key: Key, reason: str, *, then: str) -> list[str]:
        """Return a key that has no counterpart, as a comment, and note why."""
        self.notes.about(key, f"{reason}; kept as a comment{then}")
        first, *more = key.value.split("\n")
        said = [f"   {key.name} = {first}", *(f"       {line}" for line in more)]
        return document.comments([*key.comments, f" Not carried over: {reason}", *said])

    def _settle(
        self, given: Mapping[str, Key], inside: Callable[[dict[str, Any]], dict[str, Any]]
    ) -> tuple[dict[str, Any], dict[str, str]]:
        candidates = {lower: self._readings(lower, key.value) for lower, key in given.items()}
        return readings.settle(candidates, lambda values: readings.refusal(inside(values)))

    def _readings(self, lower: str, value: str) -> list[Any]:
        plain, _ = readings.without_remarks(lower, value)
        if lower == "app_module_path":
            return [self._path(plain)]
        if lower == "user_dir_base" and not plain.startswith("~"):
            # The older scripts ran beside their configuration, jobctl runs anywhere.
            return [str(self.here / plain)]
        return readings.readings(lower, plain)

    def _path(self, path: str) -> str:
        """Return a path so that it names the same file from where the new configuration lies."""
        if Path(path).is_absolute() or self.here == self.there:
            return path
        full = self.here / path
        if ".." in full.parts:
            # Not by its text: ".." behind a symbolic link leads elsewhere.
            full = full.resolve()
        for home in (self.there, self.there.resolve()):
            if full.is_relative_to(home):
                return str(full.relative_to(home))
        return str(full)

    def _kept(self, lower: str, key: Key, value: Any) -> list[str]:
        plain, remarks = readings.without_remarks(lower, key.value)
        texts = [*key.comments, *remarks]
        if lower in readings.NAMES:
            if plain not in value:
                texts.append(f" {key.name} = {plain} in {self.notes.source.name}")
            if remarks:
                self.notes.about(
                    key, 'what is behind the ";" is a comment now; if it is no comment, put it back'
                )
        return [*document.comments(texts), *document.pair(lower, value)]

    def _refused(self, lower: str, key: Key, reason: str, defaults: object) -> list[str]:
        if lower == "protocol":
            reason = "the gateway serves https and nothing else"
        (default,) = document.pair(lower, getattr(defaults, lower))
        wrong = "it is for the module, rename it" if lower in OWN else "that is wrong, set another"
        return self.dropped(key, reason, then=f", and now it is {default}; if {wrong}")

    def _further(self, key: Key) -> list[str]:
        if re.search(r"\s;", key.value):
            self.notes.about(
                key,
                'Python 2 took what is behind " ;" for a comment; the module now gets the whole '
                "value, so remove what is no part of it",
            )
        if "%(" in key.value:
            self.notes.about(key, '"%(" is not filled in; write out what it stood for')
        return [*document.comments(key.comments), *document.pair(key.name.lower(), key.value)]

    def _offered(self, key: Key | None, apps: Mapping[str, Block]) -> list[str]:
        """Return which apps are offered; a name without a section stays as a comment."""
        if key is None:
            self.notes.on_the_whole(
                "no APPLICATION_OPTIONS, so every app is offered; to offer fewer, list them in "
                "general.application_options"
            )
            return [ALL_APPS]
        value, remarks = readings.without_remarks(readings.LIST, key.value)
        new_names = {block.name: name for name, block in apps.items()}
        listed = {
            name: new_names.get(name, nearest_app_name(name))
            for name in readings.names(value, new_names)
        }
        offered = list(dict.fromkeys(name for name in listed.values() if name in apps))
        lines = document.comments([*key.comments, *remarks])
        lines += [ALL_APPS] if offered == list(apps) else document.pair(readings.LIST, offered)
        for name, known in listed.items():
            if known not in apps:
                ghost = replace(key, value=name, comments=[])
                lines += self.dropped(
                    ghost, f"there is no section [{name}]", then="; add the app, or forget it"
                )
        return lines

    def _note_missing(self, name: str, block: Block) -> None:
        values = {key: str(getattr(Section(), key)).lower() for key in readings.DOCUMENTED}
        now = values | _DEFAULTS | {"app_module": f"{name}_module, in a directory"}
        lacking = [
            f"{key.upper()} (now {now[key]})"
            for key in readings.DOCUMENTED
            if key not in block.keys
        ]
        if lacking:
            self.notes.add(
                block.line,
                f"[{block.name}] lacks {', '.join(lacking)}; set what this is wrong for",
            )
