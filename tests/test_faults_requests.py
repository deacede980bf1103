"""Something goes wrong at each request to the engine in turn; the next command puts it right."""

from __future__ import annotations

from itertools import cycle

import pytest

from tests.bench import COMMANDS, Bench, assert_failed_clearly, moments
from tests.engine_proxy import Fault
from tests.profile import NIGHTLY
from tests.wholeness import assert_whole

pytestmark = pytest.mark.engine

KILLS = (Fault.KILL_BEFORE, Fault.KILL_AFTER)
FAILURES = (Fault.REFUSE, Fault.DROP_BEFORE, Fault.DROP_AFTER, Fault.CUT)


@pytest.mark.parametrize("command", COMMANDS)
def test_killed_at_each_request(bench: Bench, command: str) -> None:
    """In a change's tests, commands other than ``run`` are killed on one side of each request."""
    turns = cycle(KILLS)
    for name, when in moments(bench, command):
        for fault in KILLS if NIGHTLY or command == "run" else [next(turns)]:
            print(f"{command}, {fault.value} {name}")
            done, _ = bench.attempt(command, when, fault)
            assert done.returncode == -9
            bench.after()


@pytest.mark.parametrize("command", ["run", "stop"])
def test_engine_fails_at_each_request(bench: Bench, command: str) -> None:
    """In a change's tests each request meets one of the failures, at night all of them."""
    turns = cycle(FAILURES)
    for name, when in moments(bench, command):
        for fault in FAILURES if NIGHTLY else [next(turns)]:
            print(f"{command}, {fault.value} {name}")
            done, proxy = bench.attempt(command, when, fault)
            if fault is Fault.CUT and done.returncode == 0:
                # Where an answer has no body, its first line says it all.
                assert proxy.struck
                assert proxy.struck.method == "POST"
                bench.after()
                continue
            assert_failed_clearly(done)
            if command == "run":  # and it is undone without another command
                assert assert_whole(bench.site).keys() == {bench.bystander["job_id"]}
            bench.after()
