"""Pages that show commands, and somebody who types them in as they stand there."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pexpect

from tests.site import PROJECT, Site

PASSWORD = "correct horse"
PROMPT = r"(Password|Again): |Enter host password for user '[^']*':"
_BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^>]+) -->\n)?```(?P<kind>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """What stands between two fences; a comment above it may say why it is not run."""

    kind: str
    text: str
    reason: str | None = None


def blocks(page: str) -> list[Block]:
    """Return the blocks of a page, whose path counts from the project."""
    text = (PROJECT / page).read_text()
    return [Block(found["kind"], found["text"], found["reason"]) for found in _BLOCK.finditer(text)]


def not_run(page: str) -> dict[str, str]:
    """Return why each block that is not run is not, by its first line."""
    return {
        block.text.partition("\n")[0]: block.reason
        for block in blocks(page)
        if block.reason is not None
    }


def shape(expected: str) -> re.Pattern[str]:
    """Return what output has to look like.

    Ports are any ports and spaces any number of them, an ellipsis is anything on its line.
    """
    escaped = re.sub(r"\d{4,}", r"\\d+", re.escape(expected.strip()))
    return re.compile(re.sub(r"(\\ )+", r" +", escaped).replace("…", ".*"))


@dataclass
class Reader:
    """Follows pages at a terminal, in one directory, and answers what is asked.

    ``stand_ins`` are texts of a page and what this reader types for each. Job numbers are those of
    the site, unless ``numbers_as_shown``, where port numbers in sections are meant.
    """

    site: Site
    directory: Path
    stand_ins: Mapping[str, str] = field(default_factory=dict)
    numbers_as_shown: bool = False

    def __post_init__(self) -> None:
        # As in a shell that is used interactively, a block begins in the directory where the one
        # before it ended.
        self._where = self.directory
        self.site.env |= {
            "PATH": f"{self.site.command.parent}:{os.environ['PATH']}",
            "USER": self.site.account.pw_name,
            "TERM": "dumb",
        }

    def follow(self, page: str) -> None:
        """Run each block of a page, and compare what is said with what the page says."""
        said = ""
        for block in blocks(page):
            if block.reason is None and block.kind in ("sh", "python"):
                said = self.run(block)
            elif block.kind == "text":
                expected = self.adapted(block.text)
                assert shape(expected).fullmatch(said.strip()), f"{page}:\n{expected}\nis\n{said}"

    def run(self, block: Block) -> str:
        """Run a block, which has to succeed, and return its standard output."""
        text = self.adapted(block.text)
        if block.kind == "sh":
            return self._type(text)
        (self._where / "example.py").write_text(text)
        return self._type(f"{self.site.command.parent}/python example.py\n")

    def adapted(self, text: str) -> str:
        """Return text with this reader's own values."""
        for theirs, mine in self.stand_ins.items():
            text = text.replace(theirs, mine)
        if self.numbers_as_shown:
            return text
        low = self.site.ports[0]
        return re.sub(r"(?<!\d)80(\d\d)(?!\d)", lambda match: str(low + int(match[1])), text)

    def _type(self, commands: str) -> str:
        stdout, ended_in = (self.site.root / name for name in ("stdout", "ended-in"))
        script = f'exec > "$0"; trap \'pwd > "$1"\' EXIT\n{commands}'
        terminal = pexpect.spawn(
            "bash",
            ["-euo", "pipefail", "-c", script, str(stdout), str(ended_in)],
            env=self.site.env,
            cwd=str(self._where),
            encoding="utf-8",
            timeout=180,
        )
        shown = "".join(_answered(terminal))
        terminal.close()
        said = stdout.read_text()
        assert terminal.exitstatus == 0, f"{commands}{said}{shown}"
        self._where = Path(ended_in.read_text().strip())
        return said


def _answered(terminal: pexpect.spawn[str]) -> Iterator[str]:
    """Give the password whenever it is asked for, and yield what was shown, to the end."""
    while terminal.expect([PROMPT, pexpect.EOF]) == 0:
        yield str(terminal.before)
        terminal.sendline(PASSWORD)
    yield str(terminal.before)
