"""The commands of jobctl as data, read from the tree that parses them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

EXAMPLE = "Example: "
_PLAIN = {"int": "N", "float": "NUMBER", "str": "TEXT", "path": "FILE"}


@dataclass(frozen=True)
class Parameter:
    """An argument or option: how it is written, and what it is for."""

    spelled: str
    help: str


@dataclass(frozen=True)
class Command:
    """A command, or a group that has no more to say than what its commands are about."""

    name: str
    usage: str
    paragraphs: list[str]
    example: str | None
    arguments: list[Parameter]
    options: list[Parameter]
    is_group: bool


def commands() -> list[Command]:
    """Return all commands, the root first, each group before what is in it."""
    from typer.main import get_command

    from jobctl.cli.commands import app

    root = get_command(app)
    return list(_walk(root, root.make_context("jobctl", [], resilient_parsing=True)))


def _walk(command: Any, context: Any) -> Iterator[Command]:
    yield _described(command, context)
    for name in sorted(getattr(command, "commands", ())):
        inner = command.commands[name]
        if not inner.hidden:
            yield from _walk(inner, type(context)(inner, info_name=name, parent=context))


def _described(command: Any, context: Any) -> Command:
    paragraphs = [" ".join(part.split()) for part in (command.help or "").split("\n\n")]
    examples = [part.removeprefix(EXAMPLE) for part in paragraphs if part.startswith(EXAMPLE)]
    parameters: dict[str, list[Parameter]] = {"argument": [], "option": []}
    for one in command.get_params(context):
        # A parameter that is hidden has no record.
        if (record := one.get_help_record(context)) and "--help" not in one.opts:
            parameters[one.param_type_name].append(_parameter(*record))
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    return Command(
        name=context.command_path,
        usage=_without_doubled_signs(usage),
        paragraphs=[part for part in paragraphs if part and not part.startswith(EXAMPLE)],
        example=examples[0] if examples else None,
        arguments=[one for one in parameters["argument"] if one.help],
        options=parameters["option"],
        is_group=hasattr(command, "commands"),
    )


def _parameter(spelled: str, text: str) -> Parameter:
    if spelled.startswith("-"):
        spelled = re.sub(r"<(?:list\[)?(\w+)[^>]*>", _placeholder, spelled)
    else:
        spelled = re.sub(r" <[^>]*>$", "", spelled).upper()  # of an argument, its name says it
    text = re.sub(r"\s+\[(required|default: [^]]*)\]", "", text)
    text = re.sub(r"\s+\[x?>=([\d.]+)\]", r" At least \1.", text)
    return Parameter(spelled, " ".join(text.split()))


def _placeholder(match: re.Match[str]) -> str:
    return _PLAIN.get(match[1].lower(), match[1].upper())


def _without_doubled_signs(usage: str) -> str:
    """Undo what the parser adds to metavars that say themselves what is optional and repeated."""
    usage = re.sub(r"\{([^}]+)\}", lambda match: match[1].upper(), usage)
    usage = re.sub(r"\[\[([^]]*)\]\]\.\.\.", r"[\1]", usage)
    return usage.replace("......", "...").replace("[[", "[").replace("]]", "]")
