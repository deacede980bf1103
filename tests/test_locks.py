"""Locks between processes: who holds one keeps others out, and lets go however it ends."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from jobctl.errors import JobctlError
from jobctl.locks import RECORDS, Busy, Locks

HOLD = """
import sys
from pathlib import Path
from jobctl.locks import Locks
with Locks(Path(sys.argv[1])).held(int(sys.argv[2])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_process_holds(directory: Path, byte: int) -> Iterator[subprocess.Popen[str]]:
    """Let another process hold a lock until it is killed or told to end."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, directory, str(byte)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield holder


def test_a_lock_held_by_another_process_keeps_this_one_out(home: Path) -> None:
    locks = Locks(home)

    with another_process_holds(home, 8000):
        assert locks.busy(8000)
        with pytest.raises(Busy), locks.held(8000, timeout=0):
            pytest.fail("both hold it")

    with locks.held(8000, timeout=0):
        pass


def test_the_kernel_lets_go_for_a_process_that_is_killed(home: Path) -> None:
    locks = Locks(home)
    with another_process_holds(home, 8000) as holder:
        holder.kill()
        holder.wait()

        assert not locks.busy(8000)
        with locks.held(8000, timeout=0):
            pass


def test_who_waits_gets_the_lock_when_its_holder_ends(home: Path) -> None:
    with another_process_holds(home, 8000) as holder:
        threading.Timer(0.1, holder.kill).start()

        with Locks(home).held(8000, timeout=10):
            assert holder.wait() != 0


def test_waiting_ends_with_the_time_that_was_given(home: Path) -> None:
    locks = Locks(home)
    with locks.held(8000):
        before = time.monotonic()

        with pytest.raises(Busy), locks.held(8000, timeout=0.1):
            pass

        assert 0.1 <= time.monotonic() - before < 1


@pytest.mark.parametrize(("byte", "what"), [(RECORDS, "the records"), (8000, "job_8000")])
def test_who_is_kept_out_is_told_of_what(home: Path, byte: int, what: str) -> None:
    locks = Locks(home)

    with locks.held(byte), pytest.raises(JobctlError, match=what), locks.held(byte, timeout=0):
        pass


def test_two_locks_of_one_file_are_independent(home: Path) -> None:
    locks = Locks(home)

    with another_process_holds(home, 8000), locks.held(8001, timeout=0):
        assert locks.busy(8000)
        assert locks.busy(8001)
        assert not locks.busy(7999)
        assert not locks.busy(RECORDS)

    assert not locks.busy(8001)


def test_locks_of_two_users_are_independent(home: Path, tmp_path: Path) -> None:
    with Locks(home).held(8000), Locks(tmp_path).held(8000, timeout=0):
        pass


def test_threads_of_one_process_exclude_each_other(home: Path) -> None:
    locks = Locks(home)
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(5):
            with locks.held(RECORDS):
                inside += 1
                most = max(most, inside)
                time.sleep(0.001)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert most == 1


def test_a_lock_that_this_process_holds_is_busy_and_free_afterwards(home: Path) -> None:
    locks = Locks(home)
    assert not locks.busy(8000)

    with locks.held(8000):
        assert locks.busy(8000)

    assert not locks.busy(8000)


def test_an_exception_inside_lets_go(home: Path) -> None:
    locks = Locks(home)

    with pytest.raises(ZeroDivisionError), locks.held(8000):
        _ = 1 / 0

    assert not locks.busy(8000)


def test_a_program_that_is_started_meanwhile_does_not_keep_the_lock(home: Path) -> None:
    locks = Locks(home)
    with locks.held(8000):
        child = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        assert not locks.busy(8000)
    finally:
        child.kill()
        child.wait()


def test_asking_makes_no_file(home: Path) -> None:
    assert not Locks(home).busy(8000)
    assert list(home.iterdir()) == []


def test_the_lock_file_is_private_and_there_is_one_for_all(home: Path) -> None:
    before = os.umask(0)
    try:
        with Locks(home).held(8000), Locks(home).held(8001):
            pass
    finally:
        os.umask(before)

    (file,) = home.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.stat().st_size == 0
