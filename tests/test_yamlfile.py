"""YAML text: on which line a key stands, and how one is added without touching the rest."""

from __future__ import annotations

import pytest

from jobctl import yamlfile
from jobctl.errors import JobctlError

ENTRY = "\nnew:\n  # why\n  port: 1\n"


def test_lines_are_those_of_the_keys() -> None:
    text = "# a comment\ngeneral:\n  a: [1,\n    2]\napps: {x: {y: 1}}\n"

    assert yamlfile.lines(text) == {
        ("general",): 2,
        ("general", "a"): 3,
        ("apps",): 5,
        ("apps", "x"): 5,
        ("apps", "x", "y"): 5,
    }


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "apps:\n\n  new:\n    # why\n    port: 1\n"),
        ("general: {}\n", "general: {}\n\napps:\n\n  new:\n    # why\n    port: 1\n"),
        ("apps:\n", "apps:\n\n  new:\n    # why\n    port: 1\n"),
        ("apps: ~  # none yet\n", "apps:\n\n  new:\n    # why\n    port: 1\n"),
        (
            "apps:\n  old:\n    port: 2",
            "apps:\n  old:\n    port: 2\n\n  new:\n    # why\n    port: 1\n",
        ),
        (
            "apps:\n    old: {}\n",
            "apps:\n    old: {}\n\n    new:\n      # why\n      port: 1\n",
        ),
        (
            "apps:\n  old:\n    text: |\n      a\n      b\n\n# about general\ngeneral: {}\n",
            "apps:\n  old:\n    text: |\n      a\n      b\n\n\n  new:\n    # why\n    port: 1\n"
            "# about general\ngeneral: {}\n",
        ),
        (
            "apps:\n  old:\n    cap_add:\n    - A\n    - B  # b\n# about general\ngeneral: {}\n",
            "apps:\n  old:\n    cap_add:\n    - A\n    - B  # b\n\n  new:\n    # why\n    port: 1\n"
            "# about general\ngeneral: {}\n",
        ),
        (
            "apps:\n  old: {a: 1,\n    b: 2}\ngeneral: {}\n",
            "apps:\n  old: {a: 1,\n    b: 2}\n\n  new:\n    # why\n    port: 1\ngeneral: {}\n",
        ),
        (
            "apps:\n  old:\n    port:\n",
            "apps:\n  old:\n    port:\n\n  new:\n    # why\n    port: 1\n",
        ),
    ],
)
def test_an_entry_goes_behind_the_last_one(before: str, after: str) -> None:
    assert yamlfile.insert(before, "apps", ENTRY) == after


@pytest.mark.parametrize("text", ["apps: {old: {}}\n", "apps: []\n", "apps: text\n"])
def test_what_can_not_be_added_to_is_refused(text: str) -> None:
    with pytest.raises(JobctlError, match='"apps"'):
        yamlfile.insert(text, "apps", ENTRY)
