"""Spans of time as people write them, ``90m``, ``8h``, ``2d`` or ``1h30m``, and back in words."""

from __future__ import annotations

import re

from jobctl.errors import UsageError

_UNITS = {"w": 604_800, "d": 86_400, "h": 3600, "m": 60, "s": 1}
_WORDS = (("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1))
PATTERN = "(?=[0-9])(?=.*[1-9])" + "".join(f"(?:([0-9]{{1,5}}){unit})?" for unit in _UNITS)
EXPECTED = "a time with w, d, h, m or s, longest first, as in 90m, 8h, 2d or 1h30m"


def seconds(text: str) -> int:
    """Return the seconds in a span such as ``1h30m``.

    Raises:
        UsageError: it is none. Go's and systemd's fractions and words (``1.5h``, ``2 hours``) are
            not taken, and neither is a number without a unit, which could be of any.
    """
    match = re.fullmatch(PATTERN, text)
    if match is None:
        raise UsageError(f'"{text}": expected {EXPECTED}')
    return sum(
        int(count or 0) * unit for count, unit in zip(match.groups(), _UNITS.values(), strict=True)
    )


def words(span: float) -> str:
    """Return a span in its largest unit: ``12 minutes``; from a minute on seconds don't matter."""
    if span >= _UNITS["m"]:
        span = round(span / 60) * 60
    for unit, length in _WORDS:
        if span >= length:
            count = int(span // length)
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return "0 seconds"
