"""docs/how-to/reach-a-job.md says what is so: its commands, options, figures and links."""

from __future__ import annotations

import re
import shlex

import pytest
from typer.main import get_command

from jobctl import tunnel
from jobctl.cli.commands import app
from tests.site import PROJECT

PAGE = PROJECT / "docs" / "how-to" / "reach-a-job.md"
TEXT = PAGE.read_text()
COMMANDS = [
    *re.findall(r"^jobctl .+$", TEXT, re.MULTILINE),
    *re.findall(r"`(jobctl [^`]+)`", TEXT),
    *re.findall(r"'(jobctl [^']+)'", TEXT),
]


def options_of(words: list[str]) -> set[str]:
    """Return the options of the command that words begin with."""
    command = get_command(app)
    for word in words:
        inner = getattr(command, "commands", {}).get(word)
        if inner is None:
            break
        command = inner
    assert command is not get_command(app)
    return {option for one in command.params for option in one.opts}


@pytest.mark.parametrize("line", sorted(set(COMMANDS)))
def test_commands_and_their_options_exist(line: str) -> None:
    _, *words = shlex.split(line)
    assert {word for word in words if word.startswith("--")} <= options_of(words)


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (["open"], {"--print"}),
        (["tunnel"], {"-o", "--local-port", "--remote-command"}),
        (["ca", "trust"], {"--system", "--unconstrained"}),
        (["run"], {"--bind"}),
    ],
)
def test_options_that_stand_alone_exist(command: list[str], options: set[str]) -> None:
    assert all(f"`{option}" in TEXT or f" {option}`" in TEXT for option in options)
    assert options <= options_of(command)


def test_every_command_of_the_page_is_looked_at() -> None:
    first = {tuple(shlex.split(line)[1:3]) for line in COMMANDS}
    assert {("open", "job_8000"), ("ca", "trust"), ("ca", "untrust"), ("ca", "export")} <= first


def test_figures() -> None:
    assert f"up to {tunnel.LONGEST_PAUSE_S:g} s, for {tunnel.MOST_TRIES}" in " ".join(TEXT.split())


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)", TEXT):
        assert (PAGE.parent / target).exists(), target
