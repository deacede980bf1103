"""Signals at any moment: a killed command is put right by the next, an interrupted one undoes."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from subprocess import Popen

import pytest

from tests.bench import COMMANDS, Bench, moments
from tests.engine_proxy import Fault
from tests.profile import NIGHTLY
from tests.waiting import eventually
from tests.wholeness import PASSWORD, assert_whole

pytestmark = pytest.mark.engine

# To see a failure again, set it to what was printed.
SEED = int(os.environ.get("JOBCTL_TEST_SEED") or random.SystemRandom().randrange(1 << 32))
UNDONE_WITHIN_S = 2.0
STATUS_AFTER = {signal.SIGINT: 130, signal.SIGTERM: 143}
# Both sides of the request that makes a container, which waits, and of those that don't.
SIGNALLED = (
    Fault.INTERRUPT_BEFORE,
    Fault.TERMINATE_AFTER,
    Fault.INTERRUPT_AFTER,
    Fault.TERMINATE_BEFORE,
)


@pytest.fixture
def chance() -> random.Random:
    """Return what chooses at random; a failed test prints its seed."""
    print(f"JOBCTL_TEST_SEED={SEED}")
    return random.Random(SEED)  # noqa: S311, nothing secret


@contextmanager
def under_way(bench: Bench, command: str) -> Iterator[Popen[str]]:
    """Start a command, and go on as soon as it handles signals: before that it is Python's."""
    with bench.site.start(*bench.ready_for(command), stdin=f"{PASSWORD}\n") as process:
        assert eventually(lambda: process.poll() is not None or handles_signals(process.pid))
        yield process


def handles_signals(pid: int) -> bool:
    """Tell whether a process has a handler for SIGTERM (``SigCgt`` of proc(5))."""
    with open(f"/proc/{pid}/status") as status:  # noqa: PTH123
        caught = next(line.split()[1] for line in status if line.startswith("SigCgt"))
    return bool(int(caught, 16) & 1 << (signal.SIGTERM - 1))


def duration(bench: Bench, command: str) -> float:
    """Return how long a command takes that nothing happens to."""
    with under_way(bench, command) as process:
        begun = time.monotonic()
        process.communicate()
        taken = time.monotonic() - begun
    bench.after()
    return taken


def test_killed_at_random_moments(bench: Bench, chance: random.Random) -> None:
    """As often at night as it takes to meet the gaps between two requests too."""
    durations = {command: duration(bench, command) for command in COMMANDS}
    for _ in range(200 if NIGHTLY else 5):
        command = chance.choice([*COMMANDS])
        moment = chance.uniform(0, durations[command] * 1.1)
        print(f"{command}, killed after {moment:.3f} s")
        with under_way(bench, command) as process:
            time.sleep(moment)
            process.kill()
            process.communicate()
        bench.after()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_at_random_moments(
    bench: Bench, chance: random.Random, number: signal.Signals
) -> None:
    longest = duration(bench, "run")
    worst = 0.0
    for _ in range(50 if NIGHTLY else 3):
        moment = chance.uniform(0, longest)
        print(f"run, {number.name} after {moment:.3f} s")
        with under_way(bench, "run") as process:
            time.sleep(moment)
            process.send_signal(number)
            sent = time.monotonic()
            printed, said = process.communicate()
            undone = time.monotonic() - sent
        assert "Traceback" not in said
        if printed:  # it was faster
            assert bench.after()
            continue
        worst = max(worst, undone)
        assert process.returncode == STATUS_AFTER[number]
        assert assert_whole(bench.site).keys() == {bench.bystander["job_id"]}
        assert bench.after() == {}
    print(f"undone after {worst:.2f} s at most")
    assert worst < UNDONE_WITHIN_S


def test_interrupted_at_each_request(bench: Bench) -> None:
    worst = 0.0
    for turn, (name, when) in enumerate(moments(bench, "run")):
        for fault in SIGNALLED if NIGHTLY else [SIGNALLED[turn % len(SIGNALLED)]]:
            print(f"run, {fault.value} {name}")
            done, proxy = bench.attempt("run", when, fault)
            assert proxy.struck_at is not None
            worst = max(worst, time.monotonic() - proxy.struck_at)
            assert "Traceback" not in done.stderr
            assert (done.returncode, done.stdout) == (
                130 if "SIGINT" in fault.value else 143,
                "",
            )
            assert assert_whole(bench.site).keys() == {bench.bystander["job_id"]}
            assert bench.after() == {}
    print(f"undone after {worst:.2f} s at most")
    assert worst < UNDONE_WITHIN_S


def test_interrupted_twice(bench: Bench, chance: random.Random) -> None:
    """Who presses Ctrl-C once more gets the prompt back, and the next command does the rest."""
    longest = duration(bench, "run")
    for _ in range(50 if NIGHTLY else 3):
        moment, pause = chance.uniform(0, longest), chance.uniform(0.05, 0.3)
        print(f"run, SIGINT after {moment:.3f} s and again after {pause:.3f} s more")
        with under_way(bench, "run") as process:
            time.sleep(moment)
            process.send_signal(signal.SIGINT)
            time.sleep(pause)
            process.send_signal(signal.SIGINT)
            printed, said = process.communicate()
        assert "Traceback" not in said
        if printed:
            assert bench.after()
            continue
        # Python dies of one that comes while it is ending; to a shell that is 130 too.
        assert process.returncode in (130, -signal.SIGINT)
        assert bench.after() == {}
