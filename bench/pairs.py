"""Measuring two ways of doing one thing in turn, so that what slows the machine slows both."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
Act = Callable[[], float]
"""Does something once and returns what it cost, in seconds unless the pair says otherwise."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Something of jobctl's, ``ours``, and what it is held against, ``theirs``.

    ``most`` is the ratio to stay below, and ``worst`` that of the dearest of ours to the median of
    theirs. ``runs`` is how often each is done, after once to ``warm_up``.
    """

    name: str
    ours: Act
    theirs: Act
    most: float
    worst: float | None = None
    runs: int = 7
    unit: str = "s"
    warm_up: bool = True


@dataclass(frozen=True, kw_only=True)
class Result:
    """Medians, the dearest of ours, and the median and the extremes of the ratios run by run."""

    name: str
    ours: float
    dearest: float
    theirs: float
    unit: str
    ratio: float
    least: float
    greatest: float
    most: float
    worst: float | None
    runs: int

    @property
    def reached(self) -> bool:
        dearest = self.worst is None or self.dearest / self.theirs <= self.worst
        return self.ratio <= self.most and dearest


def measure(pair: Pair) -> Result:
    """Do both once to warm up, then in turn, each time beginning with the other one."""
    if pair.warm_up:
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
        dearest=max(ours),
        theirs=statistics.median(theirs),
        unit=pair.unit,
        ratio=statistics.median(ratios),
        least=min(ratios),
        greatest=max(ratios),
        most=pair.most,
        worst=pair.worst,
        runs=pair.runs,
    )


def timing(do: Callable[[], T], undo: Callable[[T], object]) -> Act:
    """Return what does something, then undoes it, and tells the seconds that doing it took."""

    def act() -> float:
        begun = time.perf_counter()
        made = do()
        taken = time.perf_counter() - begun
        undo(made)
        return taken

    return act


def command(words: Sequence[str], **env: str) -> Act:
    """Return what runs a command to its end, which has to be a good one."""

    def run() -> None:
        subprocess.run(words, check=True, capture_output=True, env=env or None)

    return timing(run, lambda _: None)
