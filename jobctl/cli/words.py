"""Text that came from elsewhere, made fit for a terminal. Everything that is shown goes through."""

from __future__ import annotations


def clean(text: str) -> str:
    """Return text without control characters: a log line must not drive the user's terminal."""
    return "".join(
        c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def one_line(text: str) -> str:
    """Return text that can forge neither a line nor a column, as ``clean`` does otherwise."""
    return clean(text).replace("\n", "\N{REPLACEMENT CHARACTER}").replace("\t", " ")


def size(count: int) -> str:
    """Return a number of bytes in the unit that fits."""
    amount = float(count)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"
