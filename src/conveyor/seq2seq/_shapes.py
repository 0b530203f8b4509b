"""Which sources are searched for together, in shapes that a compiler has met before.

JAX and TensorFlow compile each shape anew, which takes a second: lengths are powers of two, and
rows a quarter, a sixteenth ... of what a batch of that length has. PyTorch takes what there is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import keras
import numpy as np
from numpy.typing import NDArray

# Below so many rows a step takes as long with fewer: it waits for the weights.
_FEWEST_ROWS = 8
# A shorter source counts as one of so many tokens: what is written for it takes room, too.
_SHORTEST = 16
_POWERS_OF_TWO_TO = 512  # then its multiples


class Group(NamedTuple):
    """Sources to search for together."""

    members: list[int]  # which of the sources
    rows: int  # at least as many
    length: int  # to pad to


def groups(lengths: Sequence[int], most_tokens: int) -> Iterator[Group]:
    """All but those of length 0, those of similar lengths together; the longest first.

    >>> [group.members for group in groups([1, 900, 0, 2], 1000)]
    [[1], [3, 0]]
    """
    order = sorted((n for n, length in enumerate(lengths) if length), key=lambda n: -lengths[n])
    start = 0
    while start < len(order):
        longest = lengths[order[start]]
        length = _padded_length(longest) if _compiles() else longest
        rows = max(1, most_tokens // max(_SHORTEST, length))
        rows = 1 << rows.bit_length() - 1 if _compiles() else rows
        members = order[start : start + rows]
        yield Group(members, fewer_rows(rows, len(members), fewest=1), length)
        start += rows


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


def leave_at(rows: int) -> int:
    """With so few unfinished sources left it pays to take the finished ones out."""
    if _compiles():
        return rows // 4 if rows > _FEWEST_ROWS else 0
    return rows * 7 // 8


def fewer_rows(rows: int, sources: int, *, fewest: int = _FEWEST_ROWS) -> int:
    """Rows for those of a batch that stay."""
    if not _compiles():
        return sources
    while rows > fewest and rows // 4 >= sources:
        rows //= 4
    return rows


def _padded_length(longest: int) -> int:
    if longest > _POWERS_OF_TWO_TO:
        return -(-longest // _POWERS_OF_TWO_TO) * _POWERS_OF_TWO_TO
    return max(_SHORTEST, 1 << (longest - 1).bit_length())


def _compiles() -> bool:
    return str(keras.backend.backend()) != "torch"
