"""docs/reference/output.md says what programs get: held to what the real commands print."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from jobctl.job import KEYS, KNOWN_STATUSES
from tests.site import PROJECT, Site

TEXT = (PROJECT / "docs" / "reference" / "output.md").read_text()
HEAD = "| key | type | meaning |\n|---|---|---|\n"
ROW = re.compile(r"\| `(?P<key>\w+)` \| (?P<type>[\w ]+) \| (?P<meaning>.+) \|")
TYPES: Mapping[str, type] = {
    "string": str,
    "integer": int,
    "number": float,
    "boolean": bool,
    "array of strings": list,
    "object": dict,
    "null": type(None),
}


def tables(section: str) -> list[dict[str, str]]:
    """Return the tables of a section: each a mapping of keys to types, in order."""
    text = TEXT.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    found = []
    for part in text.split(HEAD)[1:]:
        lines = part.partition("\n\n")[0].strip().splitlines()
        rows = [ROW.fullmatch(line) for line in lines]
        assert None not in rows, f"a row of {section} is none"
        found.append({row["key"]: row["type"] for row in rows if row})
    return found


def fits(value: Any, words: str) -> bool:
    """Tell whether a value has the type that the page says it has."""
    if words == "any":
        return True
    kinds = words.split(" or ")
    if isinstance(value, list):
        return "array of strings" in kinds and all(isinstance(one, str) for one in value)
    if isinstance(value, bool):
        return "boolean" in kinds
    return isinstance(value, tuple(TYPES[kind] for kind in kinds))


def as_said(objects: Sequence[Mapping[str, Any]], keys: Mapping[str, str]) -> None:
    """Make sure that objects have the keys that the page says, in its order, of its types."""
    assert objects, "nothing to hold the page to"
    for found in objects:
        assert list(found) == list(keys)
        wrong = {key: value for key, value in found.items() if not fits(value, keys[key])}
        assert wrong == {}


@pytest.fixture(scope="module")
def jobs(shared_site: Site) -> Site:
    """Return a place with a job that runs and one that has ended."""
    site = shared_site
    ended = site.run_json("run", "conduit", "--generate-password", "--json")
    site.run("run", "conduit", "--generate-password")
    site.run("stop", ended["job_id"])
    return site


def test_the_page_knows_each_key_of_a_job() -> None:
    job, _ = tables("A job")

    assert tuple(job) == KEYS


def test_the_page_knows_each_status() -> None:
    (row,) = [line for line in TEXT.splitlines() if line.startswith("| `status` |")]

    assert set(re.findall("`(\\w+)`", row)) - {"status"} == KNOWN_STATUSES


@pytest.mark.engine
def test_jobs_are_as_the_page_says(jobs: Site) -> None:
    keys, more = tables("A job")
    del keys["intent"]  # no command is under way
    listed = jobs.run_json("ps", "--all", "-o", "json")

    as_said(listed, keys)
    assert {job["status"] for job in listed} == {"launched", "stopped"}
    assert listed == jobs.run_json("ps", "--all", "--json")
    as_said(jobs.run_json("ps", "--all-users", "--json"), keys)
    as_said(jobs.run_json("client", "-q"), keys)
    as_said(jobs.run_json("broker", "-q"), keys)
    as_said([jobs.run_json("inspect", listed[0]["job_id"], "--json")], keys | more)
    launched = jobs.run_json("run", "conduit", "--generate-password", "--json")
    as_said([launched], keys | {"password": "string"})
    jobs.run("rm", "--force", launched["job_id"])


@pytest.mark.engine
@pytest.mark.parametrize(
    ("section", "command"),
    [
        ("What a job uses", ["top"]),
        ("An app", ["apps"]),
        ("An image", ["images", "ls"]),
        ("A setting", ["config", "show"]),
    ],
)
def test_other_things_are_as_the_page_says(jobs: Site, section: str, command: list[str]) -> None:
    (keys,) = tables(section)
    found = jobs.run_json(*command, "-o", "json")

    as_said(found, keys)
    assert [list(one) for one in jobs.run_json(*command, "--json")] == [list(one) for one in found]


@pytest.mark.engine
@pytest.mark.parametrize(
    ("section", "command"),
    [
        ("A job", ["ps", "--all"]),
        ("What a job uses", ["top"]),
        ("An app", ["apps"]),
        ("An image", ["images", "ls"]),
        ("A setting", ["config", "show"]),
    ],
)
def test_names_are_those_that_the_page_says(jobs: Site, section: str, command: list[str]) -> None:
    key = re.search(
        r"\| `(\w+)` \| string \| [^|]*the name that `-o name` prints",
        TEXT.partition(f"\n## {section}\n")[2],
        re.IGNORECASE,
    )
    assert key is not None
    found = jobs.run_json(*command, "--json")

    assert jobs.run(*command, "-o", "name").stdout.splitlines() == [one[key[1]] for one in found]


@pytest.mark.engine
def test_outputs_that_exclude_each_other(jobs: Site) -> None:
    for arguments in (["-o", "table", "--json"], ["-o", "json", "-q"], ["--watch", "-o", "json"]):
        assert jobs.run("ps", *arguments, check=False).returncode == 2
    assert jobs.run("ps", "--watch", check=False).returncode == 2
    assert jobs.run("ps", "-o", "name", "-q").stdout == jobs.run("ps", "-q").stdout
