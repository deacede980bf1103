"""Each error message says what to do next, and docs/reference/errors.md lists them all."""

from __future__ import annotations

import ast

import pytest
from error_messages import EXCEPTIONS, IMPERATIVES, PAGE, Message, messages, page

from tests.site import PROJECT

FOUND = messages()


def test_messages_are_found() -> None:
    """Of errors and their children, of classes that word their own, and of functions that do."""
    found = {(one.source, one.pattern) for one in FOUND}

    assert len(found) > 150
    assert ("jobctl/locks.py", "another jobctl is at work on …; try again in a moment") in found
    assert any(source == "jobctl/errors.py" and "no image" in text for source, text in found)
    assert any(
        source == "jobctl/broker.py" and "is on another engine" in text for source, text in found
    )
    assert any(source == "jobctl/startup.py" and "allow_bypass" in text for source, text in found)


@pytest.mark.parametrize("message", FOUND, ids=lambda one: f"{one.source}: {one.pattern[:60]}")
def test_a_message_says_what_to_do_next(message: Message) -> None:
    if (message.source, message.pattern) not in EXCEPTIONS:
        assert message.step is not None, f"{message.source}: {message.pattern}"


def test_an_exception_that_nobody_needs_any_more_is_gone() -> None:
    without = {(one.source, one.pattern) for one in FOUND if one.step is None}

    assert set(EXCEPTIONS) <= without
    assert all(EXCEPTIONS.values())


def test_each_imperative_begins_a_step_somewhere() -> None:
    text = " ".join(one.pattern.lower() for one in FOUND)

    assert [word for word in sorted(IMPERATIVES) if f"{word} " not in f"{text} "] == []


@pytest.mark.parametrize(
    ("pattern", "step"),
    [
        ("can't write …: …", None),
        ("… is taken by …", None),
        ("can't write …: …; see: jobctl doctor", "see: jobctl doctor"),
        ("no port is free; remove ended jobs, or widen it", "remove ended jobs, or widen it"),
        ("there is no …, or mend it", "mend it"),
        ("-r needs an app: jobctl broker -r -a APP", "jobctl broker -r -a APP"),
        ("use one of -r and -q", "use one of -r and -q"),
        ("… has no user: expected USER:HASH", "expected USER:HASH"),
        ("the namespace … is removed", None),
    ],
)
def test_what_a_next_step_is(pattern: str, step: str | None) -> None:
    assert Message("jobctl/x.py", pattern).step == step


def test_the_page_is_what_the_code_says() -> None:
    assert PAGE.read_text() == page(FOUND), "write it anew: make reference"


def test_the_page_has_each_message_and_leads_to_where_it_is_from() -> None:
    text = PAGE.read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ") and "](" in line]

    assert len(rows) == len({(one.source, one.pattern) for one in FOUND} - set(EXCEPTIONS))
    for source in {one.source for one in FOUND}:
        assert (PAGE.parent / "../.." / source).is_file()
    assert all(row.count("|") - row.count("\\|") == 4 for row in rows)


def test_no_error_is_raised_without_a_message() -> None:
    bare = [
        f"{path}:{node.lineno}"
        for path in PROJECT.glob("jobctl/**/*.py")
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Call) and not node.args and ast.unparse(node.func) == "JobctlError"
    ]

    assert bare == []
