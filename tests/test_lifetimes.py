"""When a job is to end: given at its launch, moved since, told, and not lost with the records."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer
import yaml
from typer.core import TyperGroup

from jobctl import idleness, lifetimes, schedule
from jobctl.cli import render
from jobctl.cli.commands import app
from jobctl.errors import JobctlError, UsageError
from jobctl.hosts import name
from jobctl.job import Job, Status
from jobctl.schema import General, Section
from tests.site import PROJECT, Site
from tests.test_faults_clock import at
from tests.wholeness import put_right, run_job

HOUR = 3600
NOW = 1_700_000_000


def job(**changes: Any) -> Job:
    values: dict[str, Any] = {
        "job_id": "job_8000",
        "app": "demo",
        "port": "8000",
        "protocol": "https",
        "host": name(),
        "owner": "test",
        "job_root": "/state/test/",
        "status": Status.LAUNCHED,
        "creation_timestamp": NOW,
        "expires": NOW + 8 * HOUR,
    }
    return Job(**values | changes)


@pytest.mark.parametrize(
    ("ttl", "limit", "expected"),
    [
        (None, None, None),
        ("8h", None, 8 * HOUR),
        ("8h", "8h", 8 * HOUR),
        (None, "8h", 8 * HOUR),
        ("1h", "8h", HOUR),
    ],
)
def test_what_a_job_is_given(ttl: str | None, limit: str | None, expected: int | None) -> None:
    assert lifetimes.ttl(Section(ttl=ttl), General(max_ttl=limit)) == expected


def test_no_more_than_the_configuration_allows() -> None:
    general = General(max_ttl="8h")
    with pytest.raises(UsageError, match=r'"9h" is more than general\.max_ttl .* 8h; ask for less'):
        lifetimes.ttl(Section(ttl="9h"), general)
    with pytest.raises(UsageError, match="max_ttl"):
        lifetimes.moved(NOW + 7 * HOUR, "2h", general, now=NOW)
    with pytest.raises(UsageError, match="max_ttl"):
        lifetimes.moved(NOW, "never", general, now=NOW)
    assert lifetimes.moved(NOW, "8h", general, now=NOW + 0.5) == NOW + 8 * HOUR + 1


@pytest.mark.parametrize(
    ("end", "by", "from_now", "expected"),
    [
        (NOW + HOUR, "2h", False, NOW + 3 * HOUR),
        (NOW - HOUR, "2h", False, NOW + 2 * HOUR),
        (None, "2h", False, NOW + 2 * HOUR),
        (NOW + 9 * HOUR, "2h", True, NOW + 2 * HOUR),
        (NOW + HOUR, "never", False, None),
    ],
)
def test_an_end_is_moved(end: int | None, by: str, from_now: bool, expected: int | None) -> None:
    assert lifetimes.moved(end, by, General(), now=NOW, from_now=from_now) == expected


@pytest.mark.parametrize(
    ("changes", "after", "expected"),
    [
        ({}, 0, "launched"),
        ({}, 7 * HOUR, "launched"),
        ({}, 7.5 * HOUR, "launched (ends in 30 minutes)"),
        ({}, 8 * HOUR - 5, "launched (ends in 5 seconds)"),
        ({}, 8 * HOUR, "launched (expired)"),
        ({"expires": None}, 9 * HOUR, "launched"),
        ({"expires": NOW + 300}, 0, "launched (ends in 5 minutes)"),
        ({"expires": NOW + 800}, 0, "launched"),
        ({"expires": NOW + 1000 * HOUR}, 900 * HOUR, "launched"),
        ({"status": Status.STOPPED, "exit_code": 0}, 7.9 * HOUR, "stopped (0)"),
        ({"status": Status.STOPPED, "exit_code": 0}, 9 * HOUR, "stopped (0, expired)"),
        (
            {"status": Status.STOPPED, "exit_code": 0, "reason": lifetimes.EXPIRED},
            9 * HOUR,
            "stopped (0, expired)",
        ),
        ({"status": Status.UNHEALTHY, "reason": "it is"}, 9 * HOUR, "unhealthy (it is, expired)"),
        ({"expires": -(2**63)}, 0, "launched (expired)"),
        ({"expires": 2**63}, 0, "launched"),
    ],
)
def test_ps_warns_in_the_last_part_of_a_life(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], after: float, expected: str
) -> None:
    monkeypatch.setattr("time.time", lambda: NOW + after)

    assert render.status(job(**changes)) == expected


@pytest.mark.parametrize("end", [None, NOW, 0])
def test_the_last_end_is_kept_beside_the_records(home: Path, end: int | None) -> None:
    assert lifetimes.kept_end(home, job()) == job().expires
    lifetimes.keep_end(home, job(), end)

    assert lifetimes.kept_end(home, job()) == end


@pytest.mark.parametrize("text", [b"", b"soon", b"\xff\xfe", b"1e9", b"[]"])
def test_an_end_that_can_not_be_read_is_that_of_the_labels(home: Path, text: bytes) -> None:
    (home / "job_8000_expires").write_bytes(text)

    assert lifetimes.kept_end(home, job()) == job().expires


def test_a_job_without_time_does_not_start() -> None:
    lifetimes.check_startable(job(), NOW)
    with pytest.raises(JobctlError, match=r"over 1 hour ago; .* jobctl extend job_8000 8h"):
        lifetimes.check_startable(job(), NOW + 9 * HOUR)


# With the command


def shown(site: Site, job_id: str) -> dict[str, Any]:
    found: dict[str, Any] = site.run_json("inspect", job_id, "--json")
    return found


@pytest.mark.engine
def test_an_end_is_given_moved_and_survives_the_loss_of_records(site: Site) -> None:
    site.configure("conduit", ttl="8h", idle_timeout="90m")
    default = run_job(site)
    assert default["expires"] == default["creation_timestamp"] + 8 * HOUR
    assert default["idle_timeout"] == 5400
    other, endless = run_job(site, "--ttl", "1h30m"), run_job(site, "--ttl", "never")
    assert other["expires"] == other["creation_timestamp"] + 5400
    assert endless["expires"] is None

    done = site.run("extend", other["job_id"], "2h")
    assert done.stdout == f"{other['job_id']}\n"
    assert "ends in 3 hours" in done.stderr
    assert "jobctl reap" in done.stderr
    extended = other["expires"] + 2 * HOUR
    assert shown(site, other["job_id"])["expires"] == extended
    site.run("extend", default["job_id"], "never")
    site.run("extend", endless["job_id"], "1h")
    near = shown(site, endless["job_id"])["expires"]

    (site.directory / "connections.txt").unlink()
    jobs = put_right(site, kept=[default, other, endless])
    ends = {job_id: found["expires"] for job_id, found in jobs.items()}
    assert ends == {default["job_id"]: None, other["job_id"]: extended, endless["job_id"]: near}
    assert jobs[default["job_id"]]["idle_timeout"] == 5400

    # Without that file it is as the labels have it.
    (site.directory / f"{other['job_id']}_expires").unlink()
    (site.directory / "connections.txt").unlink()
    assert put_right(site)[other["job_id"]]["expires"] == other["expires"]

    site.run("rm", "--force", *jobs)
    site.assert_nothing_left()


@pytest.mark.engine
@pytest.mark.skipif(shutil.which("faketime") is None, reason="needs the package faketime")
def test_the_end_comes_near_and_passes(site: Site) -> None:
    job = run_job(site, "--ttl", "8h")
    assert "ends in" not in site.run("ps").stdout
    assert "(ends in 30 minutes)" in at(site, "+27000s").run("ps").stdout
    late = at(site, "+9h")
    assert "launched (expired)" in late.run("ps").stdout

    # One that runs is left to run; one that does not is not started without more time.
    late.run("start", job["job_id"])
    site.run("stop", job["job_id"])
    refused = late.run("start", job["job_id"], check=False)
    assert refused.returncode == 1
    assert f"jobctl extend {job['job_id']} 8h" in refused.stderr
    done = late.run("extend", job["job_id"], "2h")
    assert "jobctl start" in done.stderr
    late.run("start", job["job_id"])
    put_right(site, kept=[job])


@pytest.mark.engine
def test_wrong_times_are_told(site: Site) -> None:
    job = run_job(site)
    for arguments in (
        ("run", "conduit", "--generate-password", "--ttl", "2 hours"),
        ("extend", job["job_id"], "tomorrow"),
        ("reap", "--idle", "1.5h"),
    ):
        done = site.run(*arguments, check=False)
        assert done.returncode == 2
        assert arguments[-1] in done.stderr
        assert "as in 90m, 8h, 2d or 1h30m" in done.stderr
    site.configure_general(max_ttl="1d")
    done = site.run("extend", job["job_id"], "2d", check=False)
    assert (done.returncode, "max_ttl" in done.stderr) == (2, True)
    assert json.loads(site.run("ps", "--json").stdout)[0]["expires"] is None


# The page


def test_the_page_says_what_is_so() -> None:
    """Its commands and options exist, and its configuration and figures are the real ones."""
    page = (PROJECT / "docs/how-to/lifetimes.md").read_text()
    tree = typer.main.get_command(app)
    assert isinstance(tree, TyperGroup)
    blocks = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    inline = re.findall(r"`(jobctl [^`]*)`", page)
    commands = [shlex.split(line) for line in [*lines, *inline] if line.startswith("jobctl ")]
    assert {words[1] for words in commands} >= {"run", "extend", "reap", "ps", "start"}
    for _, command_name, *words in commands:
        command = tree.commands[command_name]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, words

    for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL):
        values = yaml.safe_load(block)
        msgspec.convert(values.get("general", {}), General)
        for section in values.get("apps", {}).values():
            assert section.keys() <= set(Section.__struct_fields__)
            msgspec.convert(section, Section)

    assert f"more than {idleness.BYTES_A_SECOND} bytes a second" in page
    assert f"more than {idleness.CPU_SHARE:.0%}".replace("%", " %") in page
    assert schedule.MARK in page
    assert schedule.EVERY_MINUTES == 5
