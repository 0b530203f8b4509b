"""How sources are put together: of similar lengths, in shapes that a compiler has met before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import keras
import numpy as np
from numpy.typing import NDArray

# Below so many rows a step takes as long with fewer: it waits for the weights.
_FEWEST_ROWS = 8
# A shorter source counts as one of so many tokens: what is written for it takes room, too.
_SHORTEST = 16


def padded(sources: Sequence[Sequence[int]], rows: int, length: int) -> NDArray[np.int32]:
    """Sources (rows, length), 0 where there is no token.

    >>> padded([[4, 5]], 2, 3)
    array([[4, 5, 0],
           [0, 0, 0]], dtype=int32)
    """
    array = np.zeros((rows, length), "int32")
    for row, source in zip(array, sources, strict=False):
        row[: len(source)] = source
    return array


def batches(sources: Sequence[Sequence[int]], most_tokens: int) -> Iterator[list[int]]:
    """Which sources go together, the longest first; those without tokens are left out."""
    order = sorted(
        (n for n, source in enumerate(sources) if len(source)), key=lambda n: -len(sources[n])
    )
    start = 0
    while start < len(order):
        length = max(_SHORTEST, padded_length(len(sources[order[start]])))
        rows = max(1, most_tokens // length)
        rows = 1 << rows.bit_length() - 1 if _compiles() else rows
        yield order[start : start + rows]
        start += rows


def padded_length(longest: int) -> int:
    """Where shapes are compiled: a multiple of 16, of 32 above 64, of 64 above 128 and so on."""
    if not _compiles():
        return longest
    unit = max(16, 1 << max(0, (longest - 1).bit_length() - 2))
    return -(-longest // unit) * unit


def padded_rows(sources: int) -> int:
    """Where shapes are compiled: a power of two."""
    return 1 << (sources - 1).bit_length() if _compiles() else sources


def leave_at(rows: int) -> int:
    """With so few unfinished sources left it pays to take the finished ones out."""
    if _compiles():
        return rows // 2 if rows > _FEWEST_ROWS else 0
    return rows * 7 // 8


def fewer_rows(rows: int, sources: int) -> int:
    """Rows for those of a batch that stay."""
    return min(rows, max(_FEWEST_ROWS, padded_rows(sources))) if _compiles() else sources


def _compiles() -> bool:
    return str(keras.backend.backend()) != "torch"
