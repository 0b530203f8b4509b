"""How sources are put together: of similar lengths, in shapes that a compiler has met."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import keras
import numpy as np
from numpy.typing import NDArray


class Shapes:
    """Which shapes a batch may have: few where each is compiled, exact ones where none is."""

    def __init__(self) -> None:
        self.few = keras.backend.backend() != "torch"

    def length(self, longest: int) -> int:
        """Tokens of a padded source."""
        if not self.few:
            return max(1, longest)
        # Multiples of 16, of 32 above 64, of 64 above 128 and so on.
        unit = max(16, 1 << max(0, longest - 1).bit_length() - 2)
        return max(1, -(-longest // unit)) * unit

    def rows(self, sources: int) -> int:
        """Rows for so many sources."""
        return 1 << (sources - 1).bit_length() if self.few else sources

    def most_rows(self, tokens: int, length: int) -> int:
        """Rows of a batch of so many tokens. Short sources take as much room as longer ones."""
        rows = max(1, tokens // max(16, self.length(length)))
        return 1 << rows.bit_length() - 1 if self.few else rows

    def leave_at(self, rows: int) -> int:
        """With so many unfinished sources it pays to take the finished ones out."""
        if self.few:
            return rows // 2 if rows > _FEWEST_ROWS else 0
        return rows * 7 // 8

    def smaller(self, rows: int, sources: int) -> int:
        """Rows for those of a batch that stay."""
        return min(rows, max(_FEWEST_ROWS, self.rows(sources))) if self.few else sources


_FEWEST_ROWS = 8  # below, a step takes as long as with as many: it waits for the weights


def padded(sources: Sequence[Sequence[int]], rows: int, length: int) -> NDArray[np.int32]:
    """Sources (rows, length), 0 where there is no token."""
    array = np.zeros((rows, length), "int32")
    for row, source in zip(array, sources, strict=False):
        row[: len(source)] = source
    return array


def batches(
    sources: Sequence[Sequence[int]], shapes: Shapes, most_tokens: int
) -> Iterator[list[int]]:
    """Which sources are searched for together: of similar lengths; those without tokens never."""
    order = sorted(
        (n for n, source in enumerate(sources) if len(source)), key=lambda n: -len(sources[n])
    )
    start = 0
    while start < len(order):
        rows = shapes.most_rows(most_tokens, len(sources[order[start]]))
        yield order[start : start + rows]
        start += rows
