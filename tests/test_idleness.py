"""What counts as use of a job: the figures between two looks at its containers."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobctl.engines.base import Usage
from jobctl.idleness import Look, load, look, save

STARTED = [10.0, 10.5]
FIVE_MINUTES = 300.0


def usage(cpu_seconds: float = 0, sent: int = 0, received: int = 0) -> list[Usage]:
    """Return that of a gateway and its app, who share a network."""
    return [
        Usage(at=0, cpu_seconds=0, memory=1, received=received, sent=sent),
        Usage(at=0, cpu_seconds=cpu_seconds, memory=1, received=received, sent=sent),
    ]


FIRST = look(None, usage(2, 10_000), started=STARTED, now=1000)


@pytest.mark.parametrize(
    ("cpu_seconds", "sent", "received", "used"),
    [
        (0, 0, 0, False),
        # Health checks, and what other containers broadcast.
        (0.6, 0, 12_000, False),
        # Two silent WebSockets.
        (0.6, 4_000, 12_000, False),
        # A page is loaded.
        (0.7, 30_000, 40_000, True),
        # A client asks every 30 s over new connections.
        (0.8, 25_000, 10_000, True),
        # One core works for half of a minute.
        (30, 0, 0, True),
        (3_000_000, 0, 0, True),
    ],
)
def test_five_minutes(cpu_seconds: float, sent: int, received: int, used: bool) -> None:
    now = FIRST.at + FIVE_MINUTES

    seen = look(FIRST, usage(2 + cpu_seconds, 10_000 + sent, received), started=STARTED, now=now)

    assert seen.idle_since == (now if used else FIRST.at)


def test_looks_that_are_close_to_each_other_forgive_a_health_check() -> None:
    seen = look(FIRST, usage(2.2, 10_000), started=STARTED, now=FIRST.at + 1)

    assert seen.idle_since == FIRST.at


def test_idleness_adds_up_until_there_is_use() -> None:
    seen = FIRST
    for _ in range(4):
        seen = look(seen, usage(2, 10_000), started=STARTED, now=seen.at + FIVE_MINUTES)
    assert seen.at - seen.idle_since == 4 * FIVE_MINUTES

    seen = look(seen, usage(2, 99_000), started=STARTED, now=seen.at + FIVE_MINUTES)
    assert seen.at == seen.idle_since


def test_containers_that_were_started_again_count_anew() -> None:
    seen = look(FIRST, usage(2, 10_000), started=[10.0, 900.0], now=FIRST.at + FIVE_MINUTES)

    assert seen.idle_since == seen.at


@pytest.mark.parametrize("by", [-1, -FIVE_MINUTES])
def test_a_clock_that_was_put_back_makes_no_job_idle(by: float) -> None:
    seen = look(FIRST, usage(2, 10_000), started=STARTED, now=FIRST.at + by)

    assert seen.idle_since == seen.at


def test_a_look_is_kept_for_the_next_one(home: Path) -> None:
    assert load(home, "job_8000") is None
    save(home, "job_8000", FIRST)

    assert load(home, "job_8000") == FIRST
    assert (home / "job_8000_activity.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"at": "x"}', b"\xff", b'{"at": NaN}'])
def test_a_look_that_can_not_be_read_is_none(home: Path, text: bytes) -> None:
    (home / "job_8000_activity.json").write_bytes(text)

    assert load(home, "job_8000") is None


def test_one_that_says_it_was_idle_after_it_was_looked_at_is_not_believed() -> None:
    wrong = Look(at=1000, started=STARTED, cpu_seconds=2, sent=10_000, idle_since=2000)

    assert look(wrong, usage(2, 10_000), started=STARTED, now=3000).idle_since == 3000
