"""docs/security.md says what is so: each promise names tests that hold it, and those exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from jobctl.doctor import LOOKS
from tests.site import PROJECT

TEXT = (PROJECT / "docs" / "security.md").read_text()
HEAD = "| promise | held by |\n|---|---|\n"
ROW = re.compile(r"\| (?P<promise>[^|]+) \| (?P<tests>[^|]*) \|")
TEST = re.compile(r"`(tests/test_\w+\.py)::((?:\w+::)?test_\w+)`")


def rows() -> dict[str, str]:
    """Return the cells of the table by promise."""
    table = TEXT.partition(HEAD)[2]
    found = [ROW.fullmatch(line) for line in table.strip().splitlines()]
    assert None not in found, "a line of the table is none, or something stands behind it"
    return {one["promise"]: one["tests"] for one in found if one}


@cache
def defined_in(path: Path) -> frozenset[str]:
    """Return the tests that a file has, those of classes with the class in front."""
    tree = ast.parse(path.read_bytes())
    found = set(_functions(tree))
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{name}" for name in _functions(node)}
    return frozenset(found)


def _functions(parent: ast.Module | ast.ClassDef) -> list[str]:
    return [node.name for node in parent.body if isinstance(node, ast.FunctionDef)]


def test_there_are_promises() -> None:
    assert len(rows()) > 30


@pytest.mark.parametrize("promise", rows())
def test_a_promise_is_held_by_tests_that_exist(promise: str) -> None:
    cells = rows()[promise].split("<br>")
    named = [TEST.fullmatch(cell) for cell in cells]

    assert None not in named, f"not the name of a test: {cells}"
    for one in named:
        assert one is not None
        assert (PROJECT / one[1]).is_file(), one[1]
        assert one[2] in defined_in(PROJECT / one[1]), one[0]


def test_no_test_is_named_twice_for_one_promise() -> None:
    for promise, cells in rows().items():
        named = cells.split("<br>")
        assert len(named) == len(set(named)), promise


@pytest.mark.parametrize("page", ["docs/security.md", "SECURITY.md"])
def test_links_lead_somewhere(page: str) -> None:
    text = (PROJECT / page).read_text()
    headings = {_anchor(line) for line in text.splitlines() if line.startswith("#")}
    for target in re.findall(r"\]\((?!http)([^)]+)\)", text):
        path, _, anchor = target.partition("#")
        assert not path or ((PROJECT / page).parent / path).exists(), target
        assert not anchor or anchor in headings, target


def _anchor(heading: str) -> str:
    words = heading.lstrip("#").strip().lower()
    return re.sub(r"[^\w -]", "", words).replace(" ", "-")


def test_what_doctor_says_about_this_page_is_in_it() -> None:
    """It sends people here for how to have a rootless engine, and limits on it."""
    assert LOOKS
    sources = "".join(path.read_text() for path in (PROJECT / "jobctl/doctor").glob("*.py"))
    assert "docs/security.md" in sources
    for needed in ("dockerd-rootless-setuptool.sh install", "Delegate=", "userns-remap"):
        assert needed in TEXT
