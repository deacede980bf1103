"""The clock of the host is set by days, there and back: it is for ages and dates alone."""

from __future__ import annotations

import shutil
from copy import copy

import pytest

from tests.site import Site
from tests.wholeness import PASSWORD, RUN, put_right, run_job

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(shutil.which("faketime") is None, reason="needs the package faketime"),
]


def at(site: Site, offset: str) -> Site:
    """Return a site whose commands believe that the time is another."""
    other = copy(site)
    other.command = site.root / f"at{offset}"
    other.command.write_text(f'#!/bin/sh\nexec faketime -f "{offset}" "{site.command}" "$@"\n')
    other.command.chmod(0o755)
    return other


@pytest.mark.parametrize("offset", ["+2d", "-2d"])
def test_clock_is_set(site: Site, offset: str) -> None:
    kept, stopped = run_job(site), run_job(site)
    then = at(site, offset)
    shown = then.run_json("ps", "--all", "--json")
    assert {job["status"] for job in shown} == {"launched"}
    ages = [line.split() for line in then.run("ps").stdout.splitlines()]
    assert not any(word.startswith("-") for line in ages for word in line), ages

    then.run("stop", stopped["job_id"])
    launched_then = then.run_json(*RUN, stdin=f"{PASSWORD}\n")
    assert launched_then["status"] == "launched"
    assert then.run_json("inspect", launched_then["job_id"], "--json")["status"] == "launched"
    then.run("logs", launched_then["job_id"])
    then.run("rm", "--force", launched_then["job_id"])

    jobs = put_right(site, kept=[kept])
    assert jobs[stopped["job_id"]]["status"] == "stopped"
    site.run("start", stopped["job_id"])
    put_right(site, kept=[kept, stopped])
