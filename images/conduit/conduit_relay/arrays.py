"""Numbers about arrays, and smaller arrays that still look like the big ones. Pure functions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def statistics(values: Array) -> dict[str, float | int | None]:
    """Return min, max and mean of the finite values, and how many values are not finite."""
    finite = values
    if values.dtype.kind == "f" and not (mask := np.isfinite(values)).all():
        finite = values[mask]
    skipped = len(values) - len(finite)
    if not len(finite):
        return {"min": None, "max": None, "mean": None, "not_finite": skipped}
    with np.errstate(over="ignore"):
        mean = float(finite.mean(dtype=np.float64))
    return {
        "min": finite.min().item(),
        "max": finite.max().item(),
        "mean": mean if np.isfinite(mean) else None,
        "not_finite": skipped,
    }


def envelope(values: Array, points: int) -> NDArray[np.float64]:
    """Return (2, n) indices and values, with n at most `points`, that draw the same line.

    Each run of neighbours is replaced by its smallest and largest value, in their order: unlike
    every n-th value, that keeps single peaks.
    """
    size = -(-len(values) // max(1, points // 2))  # rounded up: never more than `points`
    if size <= 2:
        return np.stack([np.arange(len(values), dtype=np.float64), values.astype(np.float64)])
    starts = np.arange(0, len(values), size)
    padded = np.full(len(starts) * size, np.nan)
    padded[: len(values)] = values
    runs = padded.reshape(-1, size)
    # A run without any number is drawn as a gap, at its start.
    lowest = np.where(np.isnan(runs), np.inf, runs).argmin(axis=1)
    highest = np.where(np.isnan(runs), -np.inf, runs).argmax(axis=1)
    picked = np.sort(np.stack([lowest, highest], axis=1), axis=1) + starts[:, None]
    indices = picked.ravel()
    return np.stack([indices.astype(np.float64), padded[indices]])


def block_means(grid: Array, block: tuple[int, int]) -> NDArray[np.float32]:
    """Average a 2-D grid over blocks of (rows, columns), leaving out what is not finite.

    Blocks at the far edges are smaller when the grid is not a multiple of the block.
    """
    rows, columns = block
    if block == (1, 1):
        return grid.astype(np.float32)
    finite = np.isfinite(grid)
    values = np.where(finite, grid, 0.0)
    at_rows = np.arange(0, grid.shape[0], rows)
    at_columns = np.arange(0, grid.shape[1], columns)

    def sums(cells: Array) -> Array:
        return np.add.reduceat(np.add.reduceat(cells, at_rows, axis=0), at_columns, axis=1)

    with np.errstate(invalid="ignore", divide="ignore"):
        means: NDArray[np.float32] = (sums(values) / sums(finite.astype(np.int64))).astype(
            np.float32
        )
    return means
