"""Placeholders: which there are, where they may stand, and what becomes of braces."""

from __future__ import annotations

import pytest

from jobctl import placeholders

VALUES = {"port": "9000", "job_id": "job_8000", "directory": "/home/a b"}


@pytest.mark.parametrize(
    ("command", "args", "words"),
    [
        ("serve --port {port}", [], ["serve", "--port", "9000"]),
        ("serve {args} --port={port}", ["a", "b c"], ["serve", "a", "b c", "--port=9000"]),
        ("serve --port {port}", ["a"], ["serve", "--port", "9000", "a"]),
        ("serve '{directory}/x y'", [], ["serve", "/home/a b/x y"]),
        ("serve {directory}", [], ["serve", "/home/a b"]),
        ("serve '{{\"a\": {port}}}'", [], ["serve", '{"a": 9000}']),
        ("serve ''", ["{port}"], ["serve", "", "{port}"]),
        (
            ["sh", "-c", "exec serve $0 {port}", "{args}"],
            ["a b"],
            ["sh", "-c", "exec serve $0 9000", "a b"],
        ),
    ],
)
def test_a_command_is_split_before_it_is_filled_in(
    command: str | list[str], args: list[str], words: list[str]
) -> None:
    assert placeholders.fill_command(command, VALUES, args) == words


@pytest.mark.parametrize(
    "text", ["{", "}", "{}", "{prt}", "{port.real}", "{port!r}", "{{x}", "{args}"]
)
def test_what_is_no_placeholder_is_told_with_those_there_are(text: str) -> None:
    with pytest.raises(ValueError, match=r"env: .* is no placeholder; .*\{port\}, .*\{directory\}"):
        placeholders.check("env", [text])


@pytest.mark.parametrize("text", ["", "x", "{port}:{job_id}", "{{}}", "{{port}}", "$HOME"])
def test_what_can_be_filled_in_is_let_through(text: str) -> None:
    placeholders.check("env", [text])


def test_args_are_words_of_their_own() -> None:
    placeholders.check("command", ["{args}"], args=True)
    with pytest.raises(ValueError, match="has to be one, not a part of"):
        placeholders.check("command", ["--files={args}"], args=True)


def test_every_name_is_filled_in() -> None:
    text = "".join(f"{{{name}}}" for name in placeholders.NAMES)

    assert placeholders.fill(text, dict.fromkeys(placeholders.NAMES, "x")) == "x" * 8
