"""Signals at any moment of many launches: what is handed out is there, and nothing else."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen

import pytest

from tests.profile import NIGHTLY
from tests.site import Site
from tests.test_batch import class_file, passwords_of
from tests.test_cli import python_app
from tests.test_faults_signals import STATUS_AFTER, chance, handles_signals
from tests.waiting import eventually
from tests.wholeness import PASSWORD, assert_whole, put_right, serves

__all__ = ["chance"]

pytestmark = pytest.mark.engine

COUNT = 4
MANY = ("run", "conduit", "--count", str(COUNT), "--parallel", "2", "--hand-out", "../class.csv")
UNDONE_WITHIN_S = 5.0


@contextmanager
def under_way(site: Site, *arguments: str) -> Iterator[Popen[str]]:
    """Launch many, and go on as soon as signals are handled; forget all of them at the end."""
    with site.start(*arguments, stdin=f"{PASSWORD}\n") as process:
        assert eventually(lambda: process.poll() is not None or handles_signals(process.pid))
        yield process
    if jobs := [job["job_id"] for job in site.run_json("ps", "--all", "--json")]:
        site.run("rm", "--force", *jobs)
    handed_out(site).unlink(missing_ok=True)


def handed_out(site: Site) -> Path:
    return site.root / "class.csv"


def rows(site: Site) -> list[dict[str, str]]:
    """Return what is in the file to hand out, if there is one."""
    return class_file(handed_out(site)) if handed_out(site).exists() else []


def duration(site: Site, *arguments: str) -> float:
    """Return how long it takes if nothing happens."""
    with under_way(site, *arguments) as process:
        begun = time.monotonic()
        process.communicate()
        return time.monotonic() - begun


@pytest.mark.parametrize(
    ("number", "more"), [(signal.SIGINT, ()), (signal.SIGTERM, ("--all-or-none",))]
)
def test_interrupted_at_random_moments(
    site: Site, chance: random.Random, number: signal.Signals, more: Sequence[str]
) -> None:
    """What is verified stays and is handed out, or with the others is gone; within seconds."""
    command = [*MANY, "--generate-password", *more]
    longest = duration(site, *command)
    worst = 0.0
    for _ in range(50 if NIGHTLY else 2):
        moment = chance.uniform(0.2 * longest, longest)
        print(f"{number.name} after {moment:.3f} of {longest:.3f} s")
        with under_way(site, *command) as process:
            time.sleep(moment)
            process.send_signal(number)
            sent = time.monotonic()
            printed, said = process.communicate()
            undone = time.monotonic() - sent
            found = rows(site)
            passwords = passwords_of(found)
            whole = assert_whole(site, passwords=passwords)
            assert whole.keys() == passwords.keys() == put_right(site, passwords=passwords).keys()
        print(f"{len(found)} launched, undone after {undone:.2f} s")
        assert "Traceback" not in said
        assert "a bug in jobctl" not in said
        assert [line.split()[1] for line in printed.splitlines()[1:]] == [*passwords]
        if process.returncode == 0:  # it was faster
            assert len(found) == COUNT
            continue
        assert process.returncode == STATUS_AFTER[number]
        if more:
            assert len(found) in (0, COUNT)
        elif found:
            assert (
                f"what was verified stays; to remove it: jobctl rm --force {' '.join(passwords)}\n"
                in said
            )
        worst = max(worst, undone)
    assert worst < UNDONE_WITHIN_S


def test_interrupted_twice(site: Site, chance: random.Random) -> None:
    """Who presses Ctrl-C once more gets the prompt back, and the next command does the rest."""
    command = [*MANY, "--password-stdin", "--all-or-none"]
    longest = duration(site, *command)
    for _ in range(50 if NIGHTLY else 2):
        moment, pause = chance.uniform(0.3 * longest, longest), chance.uniform(0.02, 0.2)
        print(f"SIGINT after {moment:.3f} of {longest:.3f} s, and after {pause:.3f} s more")
        with under_way(site, *command) as process:
            time.sleep(moment)
            for _ in range(2):
                process.send_signal(signal.SIGINT)
                time.sleep(pause)
            printed, said = process.communicate()
            assert "Traceback" not in said
            assert "Fatal Python error" not in said
            assert len(put_right(site)) == (COUNT if printed else 0)
            assert process.returncode in (0, 130, -signal.SIGINT)


def test_killed_at_random_moments(site: Site, chance: random.Random) -> None:
    """The next command puts right what was not verified; what was handed out is there."""
    command = [*MANY, "--password-stdin"]
    longest = duration(site, *command)
    for _ in range(50 if NIGHTLY else 2):
        moment = chance.uniform(0.2 * longest, longest)
        print(f"killed after {moment:.3f} of {longest:.3f} s")
        with under_way(site, *command) as process:
            time.sleep(moment)
            process.kill()
            process.communicate()
            assert {row["job_id"] for row in rows(site)} <= put_right(site).keys()


WAITING = """
import http.server, time
time.sleep(60 if "{number}" == "3" else 0)
http.server.test(http.server.SimpleHTTPRequestHandler, port=9001, bind="127.0.0.1")
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_all_or_none_to_the_end(site: Site, number: signal.Signals) -> None:
    """While the last one is not ready, all are under way: whatever ends that leaves none."""
    python_app(site, "late", app_port=9001)
    words = [
        "late",
        "--count",
        "3",
        "--password-stdin",
        "--all-or-none",
        "--hand-out",
        "../class.csv",
    ]
    with under_way(site, "run", *words, "--", "-c", WAITING) as process:
        assert eventually(lambda: sum(served(site)) == 2), "two of them wait for the third"
        jobs = site.run_json("ps", "--json")
        assert [job["status"] for job in jobs] == ["launching"] * 3
        assert rows(site) == []
        process.send_signal(number)
        sent = time.monotonic()
        printed, _ = process.communicate()
        assert printed == ""
        if number is signal.SIGINT:
            assert time.monotonic() - sent < UNDONE_WITHIN_S
            assert assert_whole(site) == {}
        assert put_right(site) == {}
        site.assert_nothing_left()


def served(site: Site) -> list[bool]:
    """Tell of each job on record whether it is reachable and protected."""
    return [serves(site, job) for job in site.run_json("ps", "--json") if job["container_ids"]]
