"""Measuring two ways of doing one thing in turn, so that what slows the machine slows both."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

Act = Callable[[], float]
"""Does something once and returns how many seconds the part of it took that counts."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Something of jobctl's, ``ours``, and what it is held against, ``theirs``.

    ``most`` is the ratio to stay below, ``runs`` how often each is done.
    """

    name: str
    ours: Act
    theirs: Act
    most: float
    runs: int = 7


@dataclass(frozen=True, kw_only=True)
class Result:
    """Medians in seconds, and the median and the extremes of the ratios run by run."""

    name: str
    ours: float
    theirs: float
    ratio: float
    least: float
    greatest: float
    most: float
    runs: int

    @property
    def reached(self) -> bool:
        return self.ratio <= self.most


def measure(pair: Pair) -> Result:
    """Do both once to warm up, then in turn, each time beginning with the other one."""
    pair.ours()
    pair.theirs()
    ours: list[float] = []
    theirs: list[float] = []
    sides = [(pair.ours, ours), (pair.theirs, theirs)]
    for turn in range(pair.runs):
        for act, seconds in sides if turn % 2 else reversed(sides):
            seconds.append(act())
    ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
    return Result(
        name=pair.name,
        ours=statistics.median(ours),
        theirs=statistics.median(theirs),
        ratio=statistics.median(ratios),
        least=min(ratios),
        greatest=max(ratios),
        most=pair.most,
        runs=pair.runs,
    )


@contextmanager
def timed(into: list[float]) -> Iterator[None]:
    """Append how many seconds the block took."""
    begun = time.perf_counter()
    yield
    into.append(time.perf_counter() - begun)


def command(words: Sequence[str], **options: str) -> Act:
    """Return what runs a command to its end, which has to be a good one."""

    def act() -> float:
        begun = time.perf_counter()
        subprocess.run(words, check=True, capture_output=True, env=options or None)
        return time.perf_counter() - begun

    return act
