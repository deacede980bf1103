"""What the person who converts a file has to know or do: gathered, then told in its order."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from jobctl.legacy.ini import Key

_END = float("inf")


@dataclass
class Notes:
    """Notes on one file.

    One note each is made of ``programs`` and of ``imports``, the lines of modules that import the
    older helpers.
    """

    source: Path
    programs: list[str] = field(default_factory=list)
    imports: dict[str, None] = field(default_factory=dict)
    _found: list[tuple[float, str]] = field(default_factory=list)

    def add(self, line: float, text: str) -> None:
        """Note something about a line."""
        self._found.append((line, f"{self.source.name}:{line}: {text}"))

    def about(self, key: Key, text: str) -> None:
        """Note something about a key with its value."""
        value = " ".join(key.value.split())
        self.add(key.line, f'[{key.section}] {key.name} "{value}": {text}')

    def on_the_whole(self, text: str) -> None:
        """Note something that no one line is to blame for."""
        self._found.append((_END, f"{self.source.name}: {text}"))

    def told(self) -> tuple[str, ...]:
        """Return all notes in the order of the lines, and what has changed in the world last."""
        if self.programs:
            self.on_the_whole(
                "SERVER_PATH now is a path inside the app's image, which is jobctl/NAME unless "
                f"the section has an image: {', '.join(self.programs)}; build the image or set one"
            )
        if self.imports:
            self.on_the_whole(
                "helpers now is a part of jobctl: write jobctl.helpers for helpers in "
                f"{', '.join(self.imports)}"
            )
        ordered = sorted(self._found, key=lambda note: note[0])
        return tuple(dict.fromkeys(text for _, text in ordered))
