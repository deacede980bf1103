"""Many launches at once, for ports that are scarce: each gets one of its own, or is told."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from subprocess import CompletedProcess

import pytest

from tests.bench import assert_failed_clearly
from tests.profile import NIGHTLY
from tests.site import WORKER, Site
from tests.wholeness import PASSWORD, RUN, Job, put_right, run_job

pytestmark = pytest.mark.engine

# Above those of all sites, which have too few.
LOW = 26000 + 100 * int(WORKER)


@contextmanager
def held(ports: Iterable[int]) -> Iterator[None]:
    """Let strangers hold ports."""
    with ExitStack() as undo:
        for port in ports:
            stranger = undo.enter_context(socket.socket())
            stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            stranger.bind(("127.0.0.1", port))
            stranger.listen()
        yield


def among(site: Site, count: int) -> range:
    """Let a site have so many ports, and return them."""
    ports = range(LOW, LOW + count)
    site.ports = (ports[0], ports[-1])
    site.configure_general(port_range=[ports[0], ports[-1]])
    return ports


def at_once(sites: Sequence[Site], *arguments: str) -> list[CompletedProcess[str]]:
    """Run a command on each site, all at the same time."""
    with ThreadPoolExecutor(len(sites)) as pool:
        return list(
            pool.map(
                lambda site: site.run(*arguments, stdin=f"{PASSWORD}\n", check=False),
                sites,
            )
        )


def test_many_launches_at_once_with_strangers_on_some_ports(site: Site) -> None:
    """At night, fifty launches with twenty ports held by others."""
    count, taken = (50, 20) if NIGHTLY else (20, 8)
    ports = among(site, count + taken + 5)
    strangers = ports[1 : 3 * taken : 3]
    assert len(strangers) == taken
    with held(strangers):
        done = at_once([site] * count, *RUN)
        assert [one.stderr for one in done if one.returncode != 0] == []
        jobs = put_right(site, held=strangers)
        assert len(jobs) == count
        assert {job["status"] for job in jobs.values()} == {"launched"}
        assert not {int(job["port"]) for job in jobs.values()} & set(strangers)
        site.run("rm", "--force", *jobs)
        assert put_right(site, held=strangers) == {}


def test_more_launches_than_ports(site: Site) -> None:
    """Who comes too late is told who has the ports, and leaves nothing."""
    ports = among(site, 10)
    strangers = ports[2:9:3]
    with held(strangers):
        done = at_once([site] * 12, *RUN)
        failed = [one for one in done if one.returncode != 0]
        assert len(failed) == 12 - (10 - 3)
        for one in failed:
            assert_failed_clearly(one)
            assert f"{ports[0]}-{ports[-1]}" in one.stderr
        jobs = put_right(site, held=strangers)
        assert len(jobs) == 10 - 3
        again = site.run(*RUN, stdin=f"{PASSWORD}\n", check=False)
        assert_failed_clearly(again)
        assert f"{strangers[0]}" in again.stderr
        assert f"your {min(jobs)}" in again.stderr
    job = run_job(site)
    assert int(job["port"]) in strangers
    put_right(site, kept=[job])


def test_two_users_at_once(site: Site, users_site: Site) -> None:
    """On one engine, with one range of ports: neither gets in the other's way."""
    both = (site, users_site)
    assert [one.returncode for one in at_once(both * 4, *RUN)] == [0] * 8
    mine, theirs = _each_whole(*both)
    assert len(mine) == len(theirs) == 4
    assert not mine.keys() & theirs.keys()

    for command in ("stop", "start"):
        with ThreadPoolExecutor(3) as pool:
            working = pool.submit(site.run, command, *mine)
            leaving = pool.submit(users_site.run, "rm", "--force", *theirs)
            coming = pool.submit(at_once, [users_site] * 3, *RUN)
            working.result()
            leaving.result()
            assert [one.returncode for one in coming.result()] == [0] * 3
        now, theirs = _each_whole(*both)
        assert now.keys() == mine.keys()
        assert len(theirs) == 3
    assert {job["status"] for job in now.values()} == {"launched"}

    # What is another's is out of reach, and is said to be.
    refused = site.run("rm", "--force", next(iter(theirs)), check=False)
    assert refused.returncode == 1
    assert f"is a job of {users_site.account.pw_name}" in refused.stderr
    for one, jobs in zip(both, (now, theirs), strict=True):
        one.run("rm", "--force", *jobs)
    assert _each_whole(*both) == ({}, {})


def _each_whole(one: Site, other: Site) -> tuple[dict[str, Job], dict[str, Job]]:
    """Make sure of each user's jobs, and return them."""
    ports = {
        site.directory: [int(job["port"]) for job in site.run_json("ps", "--all", "--json")]
        for site in (one, other)
    }
    return (
        put_right(one, held=ports[other.directory]),
        put_right(other, held=ports[one.directory]),
    )
