"""What is told while something is under way: lines, some of which say more about themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

Report = Callable[[str], None]
"""Takes a line of progress: a plain one is news that stays, a ``Step`` tells how far things are."""


class Step(str):
    """A line that says what is being done, until the next one; whoever expects text gets text.

    ``depth`` is how deep it stands: it is a part of what was told last at a lesser depth, and
    takes the place of what was told at its own and below. ``passing`` steps are for who watches;
    a log does without them. ``done`` and ``total`` are numbers of ``unit``, without one of bytes,
    as far as they are known.
    """

    __slots__ = ("depth", "done", "passing", "total", "unit")

    depth: int
    passing: bool
    done: int | None
    total: int | None
    unit: str | None

    def __new__(
        cls,
        text: str,
        *,
        depth: int = 0,
        passing: bool = False,
        done: int | None = None,
        total: int | None = None,
        unit: str | None = None,
    ) -> Self:
        step = super().__new__(cls, text)
        step.depth, step.passing = depth, passing
        step.done, step.total, step.unit = done, total, unit
        return step
