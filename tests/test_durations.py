"""Spans of time as people write them."""

from __future__ import annotations

import pytest

from jobctl import config
from jobctl.durations import seconds, words
from jobctl.errors import UsageError
from tests.site import PROJECT


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("45s", 45),
        ("90m", 5400),
        ("8h", 8 * 3600),
        ("2d", 2 * 86_400),
        ("1w", 7 * 86_400),
        ("1h30m", 5400),
        ("1d12h", 36 * 3600),
        ("0h5m", 300),
        ("99999w", 99_999 * 7 * 86_400),
    ],
)
def test_spans(text: str, expected: int) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "8",
            "h",
            "0s",
            "0h0m",
            "-2h",
            "+2h",
            "1.5h",
            "2 hours",
            "30m1h",
            "2h2h",
            "8H",
            "2h ",
        ),
        *("8h\n", " 8h", "٣h", "100000w", "1e3s", "never"),
    ],
)
def test_what_is_no_span_is_told(text: str) -> None:
    with pytest.raises(UsageError, match="as in 90m, 8h, 2d or 1h30m"):
        seconds(text)


@pytest.mark.parametrize("key", ["ttl", "idle_timeout"])
def test_sections_take_the_same(key: str) -> None:
    section = config.load(PROJECT / "config.yaml").apps["conduit"]

    assert getattr(config.override("conduit", section, {key: "1h30m"}), key) == "1h30m"
    assert getattr(config.override("conduit", section, {key: None}), key) is None
    for wrong in ("2 hours", "0s", "8h\n", "30m1h"):
        with pytest.raises(UsageError, match=rf"apps\.conduit\.{key}: expected a time with"):
            config.override("conduit", section, {key: wrong})


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        (0, "0 seconds"),
        (1.9, "1 second"),
        (59, "59 seconds"),
        (89, "1 minute"),
        (719.6, "12 minutes"),
        (7198.2, "2 hours"),
        (86_400 * 30, "30 days"),
    ],
)
def test_in_words(span: float, expected: str) -> None:
    assert words(span) == expected
