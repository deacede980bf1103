#!/usr/bin/env python3
"""Write the reference of commands and configuration, and the manual page, from the code.

Usage: reference.py [DIRECTORY], which is the checkout unless it is given.
"""

from __future__ import annotations

import sys
from pathlib import Path

PROJECT = Path(__file__).parent.parent
sys.path[:0] = [str(PROJECT), str(Path(__file__).parent)]

import command_tree  # noqa: E402
import error_messages  # noqa: E402
import manual  # noqa: E402
from config_page import cell, config_page  # noqa: E402

HEAD = """# Commands

<!-- Made by `make reference` from the command tree; changes belong there. -->

`JOB` is an id such as `job_8000`, or its port. Every command has `--help`.
Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
"""


def commands_page(commands: list[command_tree.Command]) -> str:
    """Return the reference of the commands, as Markdown."""
    parts = [HEAD]
    for one in commands:
        level = "##" if one.name.count(" ") < 2 else "###"
        parts.append(f"{level} {one.name}\n")
        parts += [text.replace("<", "&lt;") + "\n" for text in one.paragraphs]
        if not one.is_group or one.options:
            parts.append(f"```text\n{one.usage}\n```\n")
        for title, parameters in (("argument", one.arguments), ("option", one.options)):
            if parameters:
                rows = [f"| `{_code(p.spelled)}` | {cell(p.help)} |" for p in parameters]
                parts.append("\n".join([f"| {title} | |", "|---|---|", *rows]) + "\n")
        if one.example:
            parts.append(f"For example:\n\n```console\n$ {one.example}\n```\n")
    return "\n".join(parts)


def _code(text: str) -> str:
    return text.replace("|", "\\|")


def pages() -> dict[str, str]:
    """Return all that is made, by its path."""
    commands = command_tree.commands()
    return {
        "docs/reference/commands.md": commands_page(commands),
        "docs/reference/config.md": config_page(),
        "docs/reference/errors.md": error_messages.page(error_messages.messages()),
        "man/jobctl.1": manual.manual(commands),
    }


def main() -> None:
    """Write the files below the directory."""
    target = Path(*sys.argv[1:2]) if sys.argv[1:] else PROJECT
    for name, text in pages().items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
